// Sums over the rows of a batch, for each column, in float64: in blocks of rows that follow from their number
// alone.
#pragma once

#include "nncore/matrix.hpp"

namespace nncore {

/// sums[j] = the sum over rows of x, or of (x - center[j])^2 where `center` is not null. x has contiguous
/// rows.
template <class T>
void column_sums(Matrix<const T> x, const double* center, double* sums);

/// sums[j] = the sum of g, products[j] that of g (x - center[j]).
template <class T>
void column_products(Matrix<const T> g, Matrix<const T> x, const double* center, double* sums,
                     double* products);

}  // namespace nncore
