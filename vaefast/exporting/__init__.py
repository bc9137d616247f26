"""Models as files that other programs run: ONNX, torch.export, safetensors."""

from vaefast.exporting.job import Export, export

__all__ = ["Export", "export"]
