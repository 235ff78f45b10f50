// The driver of matrix products: tiles, panels, chains and threads; no registers, no layers.
//
//          N                    One task is one panel of columns by one block of rows:
//    +---+---+---+
//    |   |###|   |  row block   for each chain of the depth:
//  M +---+---+---+                pack the panel of b (depth x panel width), if that pays
//    |   |   |   |                for each row tile: micro-kernel; after the last chain: finish the tile
//    +---+---+---+
//        panel                  Tasks are shared out among threads; the sum over the depth never is.
#pragma once

#include <cstdint>

#include "kernels/chains.hpp"
#include "kernels/table.hpp"
#include "nncore/activations.hpp"
#include "nncore/matrix.hpp"
#include "nncore/workspace.hpp"

namespace nncore {

/// What is done to a finished tile while it is hot: an elementwise activation, or the product with an
/// activation's derivative, computed from `output`.
template <class T>
struct Finish {
  Activation activation = Activation::identity;
  bool derivative = false;
  Matrix<const T> output{};
};

template <class T>
struct MatmulOptions {
  const T* bias = nullptr;  ///< (N): where each chain of the first part of the depth starts
  bool accumulate = false;  ///< c += a b (then bias must be null)
  Finish<T> finish{};
};

/// Whatever the instruction set, a packed panel is no wider than this; it has min(depth, kMaxChain) rows.
inline constexpr std::int64_t kPanelRowBytes = 256;

/// c (M, N) = a (M, K) b (K, N) [+ bias]. c has one unit stride (rows contiguous where there is a finish or a
/// bias), b has one unit stride, a any strides. c overlaps nothing else.
template <class T>
void matmul(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
            Scratch scratch);

}  // namespace nncore
