"""The results as Markdown, CSV, LaTeX and a page."""
