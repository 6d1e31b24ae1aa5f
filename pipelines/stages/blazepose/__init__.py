"""MediaPipe's body, hand and face nets on ONNX Runtime: the estimators that work without any download.

`weights/NOTICE` says where the nets come from.
"""

from pipelines.stages.blazepose.nets import CPU, Net, weights

__all__ = ["CPU", "Net", "weights"]
