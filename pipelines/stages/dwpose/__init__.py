"""The paper's key points: YOLOX finds people, DWPose (RTMPose with SimCC heads) gives 133 points, both through ONNX."""
