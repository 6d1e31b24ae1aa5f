"""The VividPose data engine and batch jobs."""
