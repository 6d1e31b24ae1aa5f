"""The metrics, one a file. Pictures are uint8 (H, W, 3) RGB unless said otherwise."""
