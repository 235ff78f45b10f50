#include "nncore/activations.hpp"

#include "functions/blocks.hpp"
#include "functions/row_checks.hpp"
#include "kernels/table.hpp"

namespace nncore {
namespace {

template <class T>
bool is_gapless(Matrix<T> m) {
  return m.row_stride == m.columns || m.rows == 1;
}

/// Calls run(row, column, rows, columns) for blocks that cover a matrix: whole rows, or, for elementwise
/// activations on `gapless` matrices, ranges of elements of the matrix seen as one row.
template <class Run>
void for_each_piece(ActivationKind kind, std::int64_t rows, std::int64_t columns, bool gapless, Run run) {
  if (rows == 0 || columns == 0) return;
  const FloatingPointMode mode;
  const std::int64_t grain = entry_of(kind).grain;
  if (gapless && entry_of(kind).is_elementwise) {
    parallel_for(rows * columns, grain, [&](std::int64_t begin, std::int64_t end, int) {
      run(std::int64_t{0}, begin, std::int64_t{1}, end - begin);
    });
  } else {
    for_rows(rows, columns, grain,
             [&](std::int64_t first, std::int64_t count) { run(first, std::int64_t{0}, count, columns); });
  }
}

}  // namespace

void validate(const Activation& activation) {
  const ActivationEntry& entry = entry_of(activation.kind);
  check_parameters(activation, entry);
  if (activation.order < 0 || activation.order >= entry.orders)
    throw invalid("order must be at least 0 and less than ", entry.orders, " for ", entry.name, "; got ",
                  activation.order);
}

template <class T>
void activation_forward(const Activation& activation, Matrix<const T> input, Matrix<T> output) {
  check_rows("input", input, "input", input);
  check_rows("output", output, "input", input);
  const auto kernel = kernels::active<T>().activation_forward[static_cast<int>(activation.kind)];
  for_each_piece(activation.kind, input.rows, input.columns, is_gapless(input) && is_gapless(output),
                 [&](std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t columns) {
                   kernel({.activation = &activation,
                           .in = rows_at(input, row, column),
                           .out = rows_at(output, row, column),
                           .rows = rows,
                           .columns = columns,
                           .derivative = {}});
                 });
}

template <class T>
void activation_backward(const Activation& activation, Matrix<const T> grad_output, Matrix<const T> kept,
                         Matrix<T> grad_input, bool accumulate) {
  const char* const name = reads_input(activation) ? "z" : "output";
  check_rows(name, kept, name, kept);
  check_rows("grad_output", grad_output, name, kept);
  check_rows("grad_input", grad_input, name, kept);
  const auto kernel = kernels::active<T>().activation_backward[static_cast<int>(activation.kind)];
  for_each_piece(activation.kind, kept.rows, kept.columns,
                 is_gapless(grad_output) && is_gapless(kept) && is_gapless(grad_input),
                 [&](std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t columns) {
                   kernel({.activation = &activation,
                           .grad_out = rows_at(grad_output, row, column),
                           .kept = rows_at(kept, row, column),
                           .grad_in = rows_at(grad_input, row, column),
                           .rows = rows,
                           .columns = columns,
                           .accumulate = accumulate});
                 });
}

template void activation_forward(const Activation&, Matrix<const float>, Matrix<float>);
template void activation_forward(const Activation&, Matrix<const double>, Matrix<double>);
template void activation_backward(const Activation&, Matrix<const float>, Matrix<const float>, Matrix<float>,
                                  bool);
template void activation_backward(const Activation&, Matrix<const double>, Matrix<const double>,
                                  Matrix<double>, bool);

}  // namespace nncore
