"""The peer libraries. Each module defines `peer(variant, threads)` and is imported in its own process."""

OURS = ("nncore", "train_epoch")  # train_epoch: nncore without Trainer, to show the cost of Trainer
REQUIRED = (*OURS, "NumPy")  # these must work; other peers are left out if they do not
# Each peer's name, module and variant.
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
