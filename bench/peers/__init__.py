"""The libraries compared; each module has `peer(variant)` and is imported in a process of its own."""

OURS = ("nncore", "train_epoch")  # the second: nncore without Trainer, to see what Trainer costs
REQUIRED = (*OURS, "NumPy")  # these must work; any other peer that does not is left out
# The name of a peer, its module, and which of the module's variants it is.
PEERS = {
    "nncore": ("nncore_peer", ""),
    "train_epoch": ("nncore_peer", "train_epoch"),
    "NumPy": ("numpy_peer", ""),
    "PyTorch": ("torch_peer", "eager"),
    "fused Adam": ("torch_peer", "fused"),
    "torch.compile": ("torch_peer", "compiled"),
    "DataLoader": ("torch_peer", "DataLoader"),
    "JAX": ("jax_peer", ""),
    "scikit-learn": ("sklearn_peer", ""),
    "onnxruntime": ("onnxruntime_peer", ""),
    "nn-engine-core": ("nn_engine_peer", ""),
    "probe": ("probe_peer", ""),
}
