// The driver of products of an operand with many zeros, as the outputs of relu have, and the gradients that
// pass it: a step of a chain is made only for what is not zero, and the bits are those of tiles.
//
//   For each block of rows, chain of the depth and panel of columns:
//     for each kSparseDepth of the depth: pack b (kSparseDepth x panel width, an L1 cache full);
//       for each row: the steps of its chains that are not zero (kernels/sparse.hpp)
//
// Rows are not tiled, since each has its zeros elsewhere: what a step reads of b comes from the L1 cache.
//
// A row alone reads b in place, and only the rows that it does not skip; that they are finite must be known.
#pragma once

#include "product/matmul.hpp"

namespace nncore {

/// c = a b as matmul, if an operand has so many zeros that it pays; else nothing is done, and false returned.
template <class T>
bool matmul_sparse(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
                   Scratch scratch);

}  // namespace nncore
