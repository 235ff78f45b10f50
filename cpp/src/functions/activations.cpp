#include "nncore/activations.hpp"

#include <algorithm>
#include <iterator>

#include "functions/row_checks.hpp"
#include "kernels/table.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

struct Traits {
  const char* name;
  bool is_elementwise;
  std::int64_t grain;  ///< elements that are too few to share among threads
};

/// In the order of Activation.
constexpr Traits kTraits[] = {
    {"identity", true, 1 << 16}, {"sigmoid", true, 1 << 14},  {"tanh", true, 1 << 14},
    {"relu", true, 1 << 16},     {"softmax", false, 1 << 14}, {"log_softmax", false, 1 << 14},
};
static_assert(std::size(kTraits) == kActivationCount);

const Traits& traits(Activation activation) { return kTraits[static_cast<int>(activation)]; }

template <class T>
bool is_gapless(Matrix<T> m) {
  return m.row_stride == m.columns || m.rows == 1;
}

template <class T>
kernels::Rows<T> rows_at(Matrix<T> m, std::int64_t row, std::int64_t column) {
  return {&m(row, column), m.row_stride};
}

/// run(row, column, rows, columns) over all elements of a matrix, in blocks of whole rows, or, where
/// `gapless`, of any number of elements of what is then one row.
template <class Run>
void for_each_piece(Activation activation, std::int64_t rows, std::int64_t columns, bool gapless, Run run) {
  if (rows == 0 || columns == 0) return;
  const FloatingPointMode mode;
  const std::int64_t grain = traits(activation).grain;
  if (gapless && is_elementwise(activation)) {
    parallel_for(rows * columns, grain, [&](std::int64_t begin, std::int64_t end, int) {
      run(std::int64_t{0}, begin, std::int64_t{1}, end - begin);
    });
  } else {
    const std::int64_t grain_rows = std::max<std::int64_t>(1, grain / columns);
    parallel_for(rows, grain_rows, [&](std::int64_t begin, std::int64_t end, int) {
      run(begin, std::int64_t{0}, end - begin, columns);
    });
  }
}

}  // namespace

const char* name(Activation activation) { return traits(activation).name; }

bool is_elementwise(Activation activation) { return traits(activation).is_elementwise; }

template <class T>
void activation_forward(Activation activation, Matrix<const T> input, Matrix<T> output) {
  check_rows("input", input, "input", input);
  check_rows("output", output, "input", input);
  const auto kernel = kernels::active<T>().activation_forward[static_cast<int>(activation)];
  for_each_piece(activation, input.rows, input.columns, is_gapless(input) && is_gapless(output),
                 [=](std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t columns) {
                   kernel(rows_at(input, row, column), rows_at(output, row, column), rows, columns);
                 });
}

template <class T>
void activation_backward(Activation activation, Matrix<const T> grad_output, Matrix<const T> output,
                         Matrix<T> grad_input, bool accumulate) {
  check_rows("output", output, "output", output);
  check_rows("grad_output", grad_output, "output", output);
  check_rows("grad_input", grad_input, "output", output);
  const auto kernel = kernels::active<T>().activation_backward[static_cast<int>(activation)];
  for_each_piece(activation, output.rows, output.columns,
                 is_gapless(grad_output) && is_gapless(output) && is_gapless(grad_input),
                 [=](std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t columns) {
                   kernel(rows_at(grad_output, row, column), rows_at(output, row, column),
                          rows_at(grad_input, row, column), rows, columns, accumulate);
                 });
}

template void activation_forward(Activation, Matrix<const float>, Matrix<float>);
template void activation_forward(Activation, Matrix<const double>, Matrix<double>);
template void activation_backward(Activation, Matrix<const float>, Matrix<const float>, Matrix<float>, bool);
template void activation_backward(Activation, Matrix<const double>, Matrix<const double>, Matrix<double>,
                                  bool);

}  // namespace nncore
