// The table of kernels: everything that the code above may ask of an instruction set.
//
// A kernel knows registers and pointers, not layers, threads or blocking. Every set fills this table from the
// same source (kernels.hpp), compiled once per set. All kernels of all sets give the same bits: they use
// explicit fma and IEEE operations only, and sum in an order that does not depend on the number of lanes.
#pragma once

#include <cstdint>

#include "nncore/activations.hpp"
#include "nncore/losses.hpp"
#include "nncore/optimizers.hpp"

namespace nncore::kernels {

inline constexpr int kMaxTileVectors = 8;
inline constexpr int kMaxTileRows = 12;
inline constexpr int kMaxNarrowRows = 10;
/// A result of at most this many columns is narrow: its transpose is computed, which uses all lanes.
constexpr int max_narrow_columns(int lanes) { return 3 * lanes / 4; }
inline constexpr int kStripDepth = 8;
inline constexpr std::int64_t kSparseDepth = 64;

/// c (R, N) = [bias +] a (R, depth) b (depth, N); each entry is one chain of fmas over the depth. N is at
/// most V vectors, where V is fixed by the tile; the last vector has N - (V - 1) * lanes columns.
template <class T>
struct TileCall {
  std::int64_t depth;
  const T* a;  ///< element (r, k) at a[r * a_row_stride + k * a_depth_stride]
  std::int64_t a_row_stride;
  std::int64_t a_depth_stride;
  const T* b;  ///< element (k, n) at b[k * b_depth_stride + n]
  std::int64_t b_depth_stride;
  T* c;  ///< element (r, n) at c[r * c_row_stride + n]
  std::int64_t c_row_stride;
  const T* bias;  ///< start of each chain, one per column; null: zero
  bool resume;    ///< each chain continues from c, where an earlier call left it
  bool add;       ///< c += scale * chain, instead of c = chain
  T scale;
  std::int64_t columns;  ///< N
  T* panel;              ///< packing_tile: receives a copy of b, row by row
  /// For tiles of panel_vectors: each step of the depth prefetches one cache line, first this one, then
  /// ahead_stride elements further on; null: none.
  const T* ahead;
  std::int64_t ahead_stride;
};

/// One row of c (N) = [bias | c] + factors[k] rows[k] for k from 0 to depth - 1, in this order; depth is at
/// most kStripDepth, and rows[k] is a row of b (N).
template <class T>
struct StripCall {
  int depth;
  T factors[kStripDepth];
  const T* rows[kStripDepth];
  T* c;
  const T* bias;  ///< start of each chain; null: zero
  bool resume;    ///< each chain continues from c
  std::int64_t columns;
};

/// Like TileCall, for any number of rows and a depth of at most kSparseDepth. Skips the steps in which a is
/// zero.
template <class T>
struct SparseCall {
  std::int64_t depth;
  const T* a;  ///< element (r, k) at a[r * a_row_stride + k]
  std::int64_t a_row_stride;
  const T* b;  ///< packed: element (k, n) at b[k * V * lanes + n]; finite
  const T* bias;
  T* sums;  ///< holds the chains between calls, rows sums_row_stride apart
  std::int64_t sums_row_stride;
  bool resume;  ///< each chain continues from sums
  bool ends;    ///< the chains end here and go to c; otherwise to sums
  T* c;         ///< element (r, n) at c[r * c_row_stride + n]; may be sums
  std::int64_t c_row_stride;
  bool add;
  T scale;
  std::int64_t columns;  ///< N
  /// What is read next, ahead_rows rows of ahead_columns elements: each row of c prefetches one of them.
  const T* ahead;
  std::int64_t ahead_rows, ahead_columns, ahead_stride;
};

/// sums (N) = [bias +] a (1, depth) b (depth, N); each entry is one chain of fmas. Skips the steps in which a
/// is zero.
template <class T>
struct SparseRowCall {
  std::int64_t depth;
  const T* a;  ///< contiguous
  const T* b;  ///< element (k, n) at b[k * b_row_stride + n]; finite
  std::int64_t b_row_stride;
  const T* bias;
  T* sums;
  std::int64_t columns;  ///< N
};

/// weight (depth, columns) += scale x^T grad_output, then output = bias + next_x weight. x and next_x are
/// samples (depth); grad_output, bias and output are vectors (columns).
template <class T>
struct FusedSgdCall {
  std::int64_t depth, columns;
  const T* x;
  const T* grad_output;
  T scale;
  const T* next_x;
  const T* bias;  ///< null: zero
  T* weight;      ///< rows row_stride elements apart
  std::int64_t row_stride;
  T* output;
};

/// The scalars of one optimizer update, for parameters that are treated alike. The kernel prepares those that
/// depend on the step alone.
template <class T>
struct UpdateScalars {
  double rate_divisor;  ///< divides the learning rate before that is rounded
  int variant;          ///< the loop that the hyperparameters select
  T numbers[8];         ///< their meaning is known to the kernel only
  T learning_rate;
  T decay_factor;  ///< multiplies the parameter: 1 - learning_rate weight_decay; 1: no decay
  T l2;            ///< times the parameter is added to the gradient
};

template <class T>
struct UpdateCall {
  const UpdateScalars<T>& scalars;
  T* parameters;
  const T* gradients;
  T* slots[kMaxSlots];  ///< slots that the optimizer does not have are not touched
  std::int64_t count;
};

/// The kernel of an optimizer.
template <class T>
struct UpdateKernel {
  /// Fills what does not depend on the parameters: rate_divisor, variant, numbers.
  void (*prepare)(const Optimizer& optimizer, std::int64_t step, UpdateScalars<T>& scalars);
  void (*run)(const UpdateCall<T>& call);
  // See kernels/updates.hpp. Null: no bound is known.
  double (*safe_gradient)(const Optimizer& optimizer, double direction, double moment, double limit);
  double (*next_moment)(const Optimizer& optimizer, double moment, double gradient);
};

/// Rows of a matrix, each contiguous, row_stride elements from one row to the next.
template <class T>
struct Rows {
  T* data;
  std::int64_t row_stride;
};

/// out = f(in) for each of `rows` rows; out may be in. If derivative.data is not null, also writes f'(in)
/// there; only for elementwise activations whose derivative reads the input.
template <class T>
struct ActivationCall {
  const Activation* activation;
  Rows<const T> in;
  Rows<T> out;
  std::int64_t rows, columns;
  Rows<T> derivative;
};

/// grad_in (+)= grad_out o f', computed from `kept`: the output or the input, whichever the activation's
/// derivative reads. grad_in may be grad_out.
template <class T>
struct ActivationBackwardCall {
  const Activation* activation;
  Rows<const T> grad_out, kept;
  Rows<T> grad_in;
  std::int64_t rows, columns;
  bool accumulate;
};
inline constexpr int kMaxLossParameters = 2;
static_assert(std::size(decltype(LossEntry::parameters){}) == kMaxLossParameters);

/// A loss whose gradient at an element depends on that element alone, over `count` elements. The kernel
/// returns the sum of weight l, in float64 and in fixed order; if gradient is not null, gradient[i] (+)=
/// coefficient * weight * dl/dprediction[i]. For losses that average over columns, l is a term of the sum
/// over the columns.
template <class T>
struct ElementLossCall {
  const T* prediction;
  const T* target;
  const T* weight;  ///< null: all are 1
  T parameters[kMaxLossParameters];
  const T* parameters_each[kMaxLossParameters];  ///< one value per element; null: the same number for all
  std::int64_t count;
  T coefficient;
  T* gradient;
  bool accumulate;
};

/// A loss that is computed row by row, for `rows` samples. The kernel writes the unweighted loss of each
/// sample; the gradient is as above. The target is `values`, or the one-hot rows of `labels` if that is not
/// null. `columns` counts those of the prediction.
template <class T>
struct RowLossCall {
  Rows<const T> prediction;
  Rows<const T> values;
  const std::int64_t* labels;
  const T* weight;  ///< null: all are 1
  T parameters[kMaxLossParameters];
  std::int64_t rows, columns;
  T coefficient;
  Rows<T> gradient;  ///< data null: not wanted; may be the prediction
  bool accumulate;
};

/// Sums of each column over `rows` rows, in float64 and in row order (see kernels/columns.hpp). They are
/// added to `sums` and `products`.
template <class T>
struct ColumnSumsCall {
  Rows<const T> x;
  Rows<const T> g;  ///< data null: none
  std::int64_t rows, columns;
  const double* center;  ///< null: none
  double* sums;
  double* products;
};

/// out = (x - center) scale + offset, each operation rounded; one center, scale and offset per column.
template <class T>
struct NormalizeCall {
  Rows<const T> x;
  Rows<T> out;
  std::int64_t rows, columns;
  const T* center;
  const T* scale;
  const T* offset;
};

/// grad_in (+)= g scale + ((x - center) slope + offset)
template <class T>
struct NormalizeBackwardCall {
  Rows<const T> g, x;
  Rows<T> grad_in;
  std::int64_t rows, columns;
  const T* center;
  const T* scale;
  const T* slope;
  const T* offset;
  bool accumulate;
};

/// grad_in (+)= g, times the slope of the column where z is not positive; sums += g z there, in float64.
template <class T>
struct PReluBackwardCall {
  Rows<const T> g, z;
  Rows<T> grad_in;  ///< data null: not wanted
  std::int64_t rows, columns;
  const T* slope;
  double* sums;
  bool accumulate;
};

inline constexpr int kPhiloxBlocks = 16;

/// Counter and key of the first of kPhiloxBlocks blocks of Philox 4x32-10. counter[0] increases by 1 from
/// block to block, without a carry.
struct PhiloxCall {
  std::uint32_t counter[4], key[2];
};

/// out = in o factors. A factor is 0 if the 32 random bits of its row and column are below `threshold`, else
/// `scale`. The bits are a function of seed, purpose, node, step, row and column alone.
template <class T>
struct DropoutCall {
  Rows<const T> in;
  Rows<T> out, factors;
  std::int64_t rows, columns;
  std::uint64_t seed, step;
  std::uint32_t purpose, node;
  std::int64_t first_row;
  std::uint32_t threshold;
  T scale;
};

template <class T>
struct Kernels {
  int lanes;  ///< elements in a vector

  // Matrix products. tile[v - 1][r - 1] computes r rows and v vectors, r <= tile_rows[v - 1]. Panels of
  // panel_vectors are best for many rows; wider tiles are for products of few rows.
  int panel_vectors;
  int tile_rows[kMaxTileVectors];
  void (*tile[kMaxTileVectors][kMaxTileRows])(const TileCall<T>&);
  /// A tile of panel_vectors whole vectors that also packs its panel.
  void (*packing_tile[kMaxTileRows])(const TileCall<T>&);

  /// narrow_tile[r - 1] computes r rows, r <= max_narrow_columns(lanes), of at most narrow_vectors[r - 1]
  /// vectors of columns, without bias; element (k, n) of b is at b[k + n * b_column_stride].
  void (*narrow_tile[kMaxNarrowRows])(const TileCall<T>&, std::int64_t b_column_stride);
  int narrow_vectors[kMaxNarrowRows];

  void (*strip)(const StripCall<T>&);

  /// sparse_tile[v - 1] computes v vectors. It returns the first row in which a chain came out as -0, which
  /// it leaves to the tiles above, or `rows` if there is none.
  std::int64_t (*sparse_tile[kMaxTileVectors])(const SparseCall<T>&, std::int64_t rows);
  void (*sparse_row[kMaxTileVectors])(const SparseRowCall<T>&);  ///< [v - 1] computes v vectors
  /// `count` is a multiple of lanes.
  bool (*all_finite)(const T* values, std::int64_t count);
  bool (*has_minus_zero)(const T* values, std::int64_t count);
  std::int64_t (*count_nonzero)(const T* values, std::int64_t count);
  /// Bit k is set if element k is not zero; count is at most kSparseDepth.
  std::uint64_t (*nonzero_bits)(const T* values, std::int64_t count);

  /// For depth 1 without resume: `rows` rows and any number of columns.
  void (*rank1_update)(const TileCall<T>&, std::int64_t rows);

  void (*fused_sgd_step)(const FusedSgdCall<T>&);

  /// panel[k * panel_stride + j] = source[k * depth_stride + j * column_stride] for j < columns, and zero for
  /// columns <= j < width. One of the two strides is 1; width is a multiple of pack_lanes.
  void (*pack)(const T* source, std::int64_t depth_stride, std::int64_t column_stride, std::int64_t depth,
               std::int64_t columns, std::int64_t width, T* panel, std::int64_t panel_stride);
  int pack_lanes;

  // Elementwise; out may be an input.
  void (*exp)(const T* in, T* out, std::int64_t count);
  void (*log)(const T* in, T* out, std::int64_t count);
  void (*activation_forward[kActivationCount])(const ActivationCall<T>&);
  void (*activation_backward[kActivationCount])(const ActivationBackwardCall<T>&);
  void (*add)(const T* a, const T* b, T* out, std::int64_t count);       ///< out = a + b
  void (*subtract)(const T* a, const T* b, T* out, std::int64_t count);  ///< out = a - b
  void (*multiply)(const T* a, const T* b, T* out, std::int64_t count);  ///< out = a b
  /// out += a b; product and sum are each rounded, as by multiply and then add.
  void (*multiply_add)(const T* a, const T* b, T* out, std::int64_t count);
  /// out = a b, row by row.
  void (*multiply_rows)(Rows<const T> a, Rows<const T> b, Rows<T> out, std::int64_t rows,
                        std::int64_t columns);
  /// sums[j] = (or +=) in(0, j) + in(1, j) + ..., in order.
  void (*sum_rows)(const T* in, std::int64_t row_stride, std::int64_t rows, std::int64_t columns, T* sums,
                   bool accumulate);

  /// Each kind has one of the two; the other is null.
  double (*element_loss[kLossCount])(const ElementLossCall<T>&);
  void (*row_loss[kLossCount])(const RowLossCall<T>&, double* losses);

  void (*column_sums)(const ColumnSumsCall<T>&);
  void (*normalize)(const NormalizeCall<T>&);
  void (*normalize_backward)(const NormalizeBackwardCall<T>&);
  void (*prelu)(Rows<const T> z, Rows<T> out, std::int64_t rows, std::int64_t columns, const T* slope);
  void (*prelu_backward)(const PReluBackwardCall<T>&);
  void (*dropout)(const DropoutCall<T>&);

  /// The largest |v|; NaN if any v is NaN.
  T (*largest_magnitude)(const T* values, std::int64_t count);
  /// The sum of (scale v)^2, in float64 and in fixed order.
  double (*sum_of_squares)(const T* values, std::int64_t count, double scale);

  /// bits[2 i] = words 0 and 1 of block i, bits[2 i + 1] = words 2 and 3, the first of them in the low half.
  void (*philox)(const PhiloxCall&, std::uint64_t* bits);

  UpdateKernel<T> update[kOptimizerCount];
};

/// One instruction set: its name and its two tables. Constant-initialized in its own object file.
struct InstructionSet {
  const char* name;
  const Kernels<float>* float32;
  const Kernels<double>* float64;
};

extern const InstructionSet baseline;
#if defined(__x86_64__)
extern const InstructionSet avx2;
extern const InstructionSet avx512;
#endif
#if defined(__aarch64__)
extern const InstructionSet neon;
#endif

/// The kernels in use (see nncore/runtime.hpp for how they are chosen).
template <class T>
const Kernels<T>& active();

}  // namespace nncore::kernels
