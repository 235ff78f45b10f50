#include "product/dense.hpp"

#include <algorithm>
#include <utility>

#include "functions/row_checks.hpp"
#include "nncore/aligned_buffer.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

template <class T>
void check_shape(const char* argument, Matrix<const T> matrix, std::int64_t rows, std::int64_t columns,
                 const char* meaning) {
  if (matrix.rows != rows || matrix.columns != columns)
    throw invalid(argument, " must have shape ", meaning, " = ",
                  shape_text(Matrix<const T>(nullptr, rows, columns)), "; got ", shape_text(matrix));
  const bool one_unit_stride =
      (matrix.column_stride == 1 || columns <= 1 || matrix.row_stride == 1 || rows <= 1);
  if (!one_unit_stride)
    throw invalid(argument, " must have a row or column stride of 1; got ", matrix.row_stride, " and ",
                  matrix.column_stride);
}

/// A single row or column has one stride that is never used: sets it to describe the cheapest layout.
template <class T>
Matrix<T> with_unit_stride(Matrix<T> matrix) {
  if (matrix.column_stride == 1 || matrix.row_stride == 1) return matrix;
  if (matrix.columns <= 1)
    matrix.column_stride = 1;
  else if (matrix.rows <= 1)
    matrix.row_stride = 1;
  return matrix;
}

/// Scratch of a call from outside the library, which has no workspace. Each calling thread keeps a buffer; a
/// call takes it away, because the interrupt callback may make another call on the same thread.
class OwnScratch {
 public:
  explicit OwnScratch(std::int64_t bytes_per_worker)
      : buffer_(std::move(kept())), bytes_per_worker_(bytes_per_worker), workers_(num_threads()) {
    buffer_.reserve(bytes_per_worker * workers_);
  }
  ~OwnScratch() { kept() = std::move(buffer_); }
  OwnScratch(const OwnScratch&) = delete;
  OwnScratch& operator=(const OwnScratch&) = delete;

  operator Scratch() { return {buffer_.data(), bytes_per_worker_, workers_}; }

 private:
  static AlignedBuffer<std::byte>& kept() {
    thread_local AlignedBuffer<std::byte> buffer;
    return buffer;
  }
  AlignedBuffer<std::byte> buffer_;
  std::int64_t bytes_per_worker_;
  int workers_;
};

}  // namespace

template <class T>
void sum_batch(Matrix<const T> grad_output, T* sums, bool accumulate, Scratch scratch) {
  const std::int64_t rows = grad_output.rows, columns = grad_output.columns;
  if (grad_output.column_stride != 1 || rows == 0) {
    const T one{1};
    MatmulOptions<T> options;
    options.accumulate = accumulate;
    return matmul<T>({&one, 1, rows, 0, 0}, grad_output, {sums, 1, columns}, options, scratch);
  }
  const auto sum_rows = kernels::active<T>().sum_rows;  // the same chains, without products
  const std::int64_t chain = chain_length(rows);
  for (std::int64_t row = 0; row < rows; row += chain) {
    if (row > 0) check_interrupt();
    sum_rows(&grad_output(row, 0), grad_output.row_stride, std::min(chain, rows - row), columns, sums,
             accumulate || row > 0);
  }
}

template <class T>
void dense_forward(Matrix<const T> x, Matrix<const T> weight, const T* bias, Matrix<T> output,
                   const Activation* activation, Matrix<T> derivative, Scratch scratch, bool finite_weight) {
  MatmulOptions<T> options;
  options.bias = bias;
  options.finite_b = finite_weight;
  if (activation == nullptr) return matmul<T>(x, weight.transposed(), output, options, scratch);
  const auto activate = kernels::active<T>().activation_forward[static_cast<int>(activation->kind)];
  const auto epilogue = [=](Matrix<T> tile, std::int64_t row, std::int64_t column) {
    const kernels::Rows<T> rows{tile.data, tile.row_stride};
    kernels::ActivationCall<T> call{activation, {rows.data, rows.row_stride}, rows, tile.rows, tile.columns,
                                    {}};
    if (derivative.data != nullptr) call.derivative = {&derivative(row, column), derivative.row_stride};
    activate(call);
  };
  const bool is_fused = entry_of(activation->kind).is_elementwise && x.columns > 0;
  if (is_fused) options.epilogue = epilogue;
  matmul<T>(x, weight.transposed(), output, options, scratch);
  if (!is_fused) activation_forward<T>(*activation, output, output);
}

template <class T>
void multiply_derivative(const InputDerivative<T>& derivative, Matrix<const T> value, Matrix<T> gradient) {
  if (derivative.kept.data == nullptr)
    return activation_backward<T>(*derivative.activation, gradient, value, gradient);
  kernels::active<T>().multiply(gradient.data, derivative.kept.data, gradient.data,
                                gradient.rows * gradient.columns);
}

template <class T>
void dense_backward(Matrix<const T> grad_output, Matrix<const T> x, Matrix<const T> weight,
                    const DenseGradients<T>& gradients, Scratch scratch) {
  if (gradients.x.data != nullptr) {  // before the weight may change
    const InputDerivative<T>& derivative = gradients.derivative_x;
    const auto multiply_kept = [=](Matrix<T> tile, std::int64_t row, std::int64_t column) {
      const Matrix<const T>& kept = derivative.kept;
      kernels::active<T>().multiply_rows({tile.data, tile.row_stride}, {&kept(row, column), kept.row_stride},
                                         {tile.data, tile.row_stride}, tile.rows, tile.columns);
    };
    const auto derive = [=](Matrix<T> tile, std::int64_t row, std::int64_t column) {
      kernels::active<T>().activation_backward[static_cast<int>(derivative.activation->kind)](
          {.activation = derivative.activation,
           .grad_out = {tile.data, tile.row_stride},
           .kept = {&x(row, column), x.row_stride},
           .grad_in = {tile.data, tile.row_stride},
           .rows = tile.rows,
           .columns = tile.columns,
           .accumulate = false});
    };
    MatmulOptions<T> options;
    options.accumulate = gradients.accumulate_x;
    if (derivative.kept.data != nullptr)
      options.epilogue = multiply_kept;
    else if (derivative.activation != nullptr)
      options.epilogue = derive;
    matmul<T>(grad_output, weight, gradients.x, options, scratch);
  }
  if (gradients.weight.data != nullptr) {
    MatmulOptions<T> options;
    options.accumulate = gradients.accumulate_weight;
    options.scale = gradients.weight_scale;
    matmul<T>(grad_output.transposed(), x, gradients.weight, options, scratch);
  }
  if (gradients.bias != nullptr) sum_batch(grad_output, gradients.bias, gradients.accumulate_bias, scratch);
}

template <class T>
void dense_advance(Matrix<const T> grad_output, Matrix<const T> x, T scale, Matrix<T> weight, const T* next_x,
                   const T* bias, Matrix<T> output, const Activation* activation, Matrix<T> derivative) {
  kernels::active<T>().fused_sgd_step({.depth = weight.columns,
                                       .columns = weight.rows,
                                       .x = x.data,
                                       .grad_output = grad_output.data,
                                       .scale = scale,
                                       .next_x = next_x,
                                       .bias = bias,
                                       .weight = weight.data,
                                       .row_stride = weight.column_stride,
                                       .output = output.data});
  if (activation == nullptr) return;
  kernels::ActivationCall<T> call{activation, {output.data, 0}, {output.data, 0}, 1, output.columns, {}};
  if (derivative.data != nullptr) call.derivative = {derivative.data, 0};
  kernels::active<T>().activation_forward[static_cast<int>(activation->kind)](call);
}

template <class T>
void dense_forward(Matrix<const T> x, Matrix<const T> weight, const T* bias, Matrix<T> output,
                   const Activation& activation) {
  validate(activation);
  check_shape<T>("x", x, x.rows, x.columns, "(B, I)");
  check_shape<T>("weight", weight, weight.rows, x.columns, "(O, I)");
  check_shape<T>("output", output, x.rows, weight.rows, "(B, O)");
  output = with_unit_stride(output);
  if (output.column_stride != 1)
    throw invalid("output must have contiguous rows; got a column stride of ", output.column_stride);
  const FloatingPointMode mode;
  OwnScratch scratch(dense_scratch_bytes(weight.columns, weight.rows, x.rows));
  dense_forward<T>(with_unit_stride(x), with_unit_stride(weight), bias, output,
                   activation.kind == ActivationKind::identity ? nullptr : &activation, {}, scratch);
}

template <class T>
void dense_backward(Matrix<const T> grad_output, Matrix<const T> x, Matrix<const T> weight, Matrix<T> grad_x,
                    Matrix<T> grad_weight, T* grad_bias, bool accumulate) {
  check_shape<T>("grad_output", grad_output, x.rows, weight.rows, "(B, O)");
  check_shape<T>("x", x, x.rows, weight.columns, "(B, I)");
  check_shape<T>("weight", weight, weight.rows, weight.columns, "(O, I)");
  if (grad_x.data != nullptr) check_shape<T>("grad_x", grad_x, x.rows, x.columns, "(B, I)");
  if (grad_weight.data != nullptr) {
    check_shape<T>("grad_weight", grad_weight, weight.rows, weight.columns, "(O, I)");
  }
  const FloatingPointMode mode;
  OwnScratch scratch(dense_scratch_bytes(weight.columns, weight.rows, x.rows));
  const DenseGradients<T> gradients{.x = with_unit_stride(grad_x),
                                    .weight = with_unit_stride(grad_weight),
                                    .bias = grad_bias,
                                    .accumulate_x = accumulate,
                                    .accumulate_weight = accumulate,
                                    .accumulate_bias = accumulate};
  dense_backward<T>(with_unit_stride(grad_output), with_unit_stride(x), with_unit_stride(weight), gradients,
                    scratch);
}

#define NNCORE_INSTANTIATE(T)                                                                               \
  template void sum_batch<T>(Matrix<const T>, T*, bool, Scratch);                                           \
  template void dense_forward<T>(Matrix<const T>, Matrix<const T>, const T*, Matrix<T>, const Activation*,  \
                                 Matrix<T>, Scratch, bool);                                                 \
  template void dense_forward<T>(Matrix<const T>, Matrix<const T>, const T*, Matrix<T>, const Activation&); \
  template void multiply_derivative<T>(const InputDerivative<T>&, Matrix<const T>, Matrix<T>);              \
  template void dense_backward<T>(Matrix<const T>, Matrix<const T>, Matrix<const T>,                        \
                                  const DenseGradients<T>&, Scratch);                                       \
  template void dense_advance<T>(Matrix<const T>, Matrix<const T>, T, Matrix<T>, const T*, const T*,        \
                                 Matrix<T>, const Activation*, Matrix<T>);                                  \
  template void dense_backward<T>(Matrix<const T>, Matrix<const T>, Matrix<const T>, Matrix<T>, Matrix<T>,  \
                                  T*, bool);
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
