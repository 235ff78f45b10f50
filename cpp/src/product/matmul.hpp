// The driver of matrix products: knows tiles, panels, chains and threads, but no registers and no layers.
//
//          N                    One task is one panel of columns by one block of rows:
//    +---+---+---+              (or all panels), for each chain of the depth:
//    |   |###|   |  row block     pack the block of a, if that pays
//  M +---+---+---+                for each panel: pack it (depth x panel width), if that pays
//    |   |   |   |                  for each row tile: micro-kernel; after the last chain: the epilogue
//    +---+---+---+
//        panel                  Threads divide the tasks, but never the sum over the depth.
#pragma once

#include <cstdint>

#include "functions/blocks.hpp"
#include "kernels/chains.hpp"
#include "kernels/table.hpp"
#include "nncore/matrix.hpp"
#include "nncore/operation.hpp"

namespace nncore {

/// A borrowed callable, epilogue(tile, row, column), applied to each tile of a result once its sums are
/// complete and while it is hot; (row, column) is the tile's first element. Tiles have contiguous rows: if
/// the result is laid out by columns, they are tiles of its transpose.
template <class T>
class Epilogue {
 public:
  Epilogue() = default;
  template <class F>
  Epilogue(const F& f)  // NOLINT(google-explicit-constructor)
      : object_(&f), call_([](const void* object, Matrix<T> tile, std::int64_t row, std::int64_t column) {
          (*static_cast<const F*>(object))(tile, row, column);
        }) {}
  explicit operator bool() const { return call_ != nullptr; }
  void operator()(Matrix<T> tile, std::int64_t row, std::int64_t column) const {
    call_(object_, tile, row, column);
  }

 private:
  const void* object_ = nullptr;
  void (*call_)(const void*, Matrix<T>, std::int64_t, std::int64_t) = nullptr;
};

template <class T>
struct MatmulOptions {
  const T* bias = nullptr;  ///< (N): start of each chain of the first part of the depth
  bool accumulate = false;  ///< c += scale a b, chain by chain; bias must then be null
  T scale = 1;              ///< may differ from 1 only if K is one chain and c accumulates
  bool finite_b = false;    ///< b is known to be finite, so that a single row of a may skip zeros
  Epilogue<T> epilogue{};
};

/// Whether a product (M, K) (K, N) copies blocks of a left operand that is laid out by columns: its columns
/// then lie so far apart that they share few sets of the caches and occupy many pages.
constexpr bool packs_left(std::int64_t m, std::int64_t n, std::int64_t k) {
  return m >= 512 && n >= 512 && k >= 64;
}

/// Scratch of a worker: the transpose of some rows of a narrow result; a packed panel of the right operand,
/// min(K, kMaxChain) rows of at most kPanelRowBytes on any instruction set; and a packed block of the left
/// operand.
inline constexpr std::int64_t kTileBytes = 4096;
inline constexpr std::int64_t kPanelRowBytes = 256;
inline constexpr std::int64_t kLeftBytes = 3 << 17;
constexpr std::int64_t tiles_scratch_bytes(std::int64_t m, std::int64_t n, std::int64_t k) {
  return kTileBytes + (k < kMaxChain ? k : kMaxChain) * kPanelRowBytes +
         (packs_left(m, n, k) ? kLeftBytes : 0);
}

/// Whether zeros of the left operand may be skipped (sparse_matmul.hpp): that takes enough rows to make
/// packing the right operand pay, and enough columns for a step.
constexpr bool may_skip_zeros(std::int64_t m, std::int64_t n, std::int64_t k) {
  return m >= 32 && n >= 48 && k >= 16;
}

/// Scratch of a worker for skipping zeros, in addition to what tiles take: a packed block of the right
/// operand, the chains of kSparseRows rows of a panel, and those rows of the left operand.
inline constexpr std::int64_t kSparseDepth = kernels::kSparseDepth;
inline constexpr std::int64_t kSparseRowBytes = 512;
inline constexpr std::int64_t kSparseRows = 256;
constexpr std::int64_t sparse_scratch_bytes(std::int64_t m, std::int64_t n, std::int64_t k) {
  return may_skip_zeros(m, n, k) || may_skip_zeros(n, m, k)
             ? (kSparseDepth + kSparseRows) * kSparseRowBytes + kLeftBytes
             : 0;
}

constexpr std::int64_t matmul_scratch_bytes(std::int64_t m, std::int64_t n, std::int64_t k) {
  return tiles_scratch_bytes(m, n, k) + sparse_scratch_bytes(m, n, k);
}

/// c (M, N) = a (M, K) b (K, N) [+ bias]. c has one unit stride (contiguous rows if there is a bias), b has
/// one unit stride, a has any strides. c must not overlap the other arrays.
template <class T>
void matmul(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
            Scratch scratch);

/// Computes a block of such a c by tiles, without skipping zeros.
template <class T>
void matmul_block(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
                  Extent rows, Extent columns, Scratch scratch);

}  // namespace nncore
