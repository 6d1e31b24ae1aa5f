"""The VividPose model. Imports nothing of `pipelines` or `train`, so that it can be used alone."""
