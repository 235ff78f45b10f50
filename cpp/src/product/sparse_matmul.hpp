// The driver of products of an operand with many zeros, such as the output of relu, or a gradient that has
// passed relu. The chains skip the zeros; the bits are those of tiles.
//
//   For each block of rows, chain of the depth and panel of columns:
//     for each kSparseDepth of the depth: pack b (kSparseDepth x panel width, which fills the L1 cache);
//       for each row: make the steps of its chains that are not zero (kernels/sparse.hpp)
//
// Rows are not tiled, because each has its zeros in other places; each step reads b from the L1 cache.
//
// A single row reads b in place, and only the rows that it does not skip; b must be known to be finite.
#pragma once

#include "product/matmul.hpp"

namespace nncore {

/// c = a b like matmul, if an operand has enough zeros to make skipping pay; otherwise does nothing and
/// returns false.
template <class T>
bool matmul_sparse(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
                   Scratch scratch);

}  // namespace nncore
