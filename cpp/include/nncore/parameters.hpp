// Parameters: the store of a model's values, gradients and non-trained state.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nncore/aligned_buffer.hpp"
#include "nncore/initializers.hpp"
#include "nncore/matrix.hpp"

namespace nncore {

/// Memory order of a segment with two or more dimensions. Its last two dimensions are those of a matrix (O,
/// I); a dimension before them counts matrices that lie one after the other.
enum class SegmentLayout {
  by_columns,  ///< column-major: the outputs of one input are adjacent, as products need a weight
  by_rows      ///< row-major: the elements of one row are adjacent, as in an embedding
};

/// One named piece of the flat arrays: a weight (O, I), a vector (O), a table of rows (N, D), ...
struct Segment {
  std::string name;                 ///< unique in the store
  std::vector<std::int64_t> shape;  ///< one to three extents of at least 1
  SegmentLayout layout = SegmentLayout::by_columns;
  Initializer initializer{};
  bool trainable = true;                  ///< false: steps leave the values unchanged
  double learning_rate_multiplier = 1.0;  ///< multiplies the optimizer's learning rate
  double weight_decay_multiplier = 0.0;   ///< multiplies weight_decay and l2; 1 for weights

  bool is_vector() const { return shape.size() == 1; }
  /// The rows of one matrix, or the length of a vector.
  std::int64_t rows() const { return is_vector() ? shape[0] : shape[shape.size() - 2]; }
  /// The columns of one matrix, or 1 for a vector.
  std::int64_t columns() const { return is_vector() ? 1 : shape.back(); }
  /// The number of elements.
  std::int64_t size() const;
};

/// The shape of a segment as text, such as "(3, 4)".
std::string shape_text(const Segment& segment);

/// A segment for a weight (O, I), with weight decay.
Segment weight_segment(std::string name, std::int64_t out_features, std::int64_t in_features,
                       Initializer initializer = InitializerKind::glorot_uniform);
/// A segment for a bias (O), without weight decay; zeros by default.
Segment bias_segment(std::string name, std::int64_t out_features, Initializer initializer = {});

/// A lock on a store that fails instead of waiting: any number of readers, or one writer. In a forked child,
/// the readers of the parent are gone.
class Usage {
 public:
  /// Begins a read, such as a prediction. Throws std::runtime_error if there is a writer.
  void begin_read();
  void end_read() { state_.fetch_sub(1, std::memory_order_release); }
  /// Begins a write, such as training, after waiting for copies. Throws std::runtime_error if there is a
  /// writer or another reader.
  void begin_write();
  void end_write() { state_.store(0, std::memory_order_release); }

  /// Begins a short read, such as saving the parameters, which writers wait for. Throws as begin_read() does.
  void begin_copy();
  void end_copy() {
    end_read();
    copies_.fetch_sub(1, std::memory_order_release);
  }
  /// As begin_write(), but returns false instead of waiting for copies.
  bool try_begin_write();

 private:
  std::atomic<std::uint64_t> state_{0};   // the number of forks before this process, and the users
  std::atomic<std::uint32_t> copies_{0};  // the users that copy or are about to
};

/// The parameter store: flat arrays of values and gradients with exactly the elements of the segments, in
/// their order, and a flat array of non-trained state (such as running statistics) with segments of its own.
/// The store owns the arrays. Several networks may share one store.
template <class T>
class Parameters {
 public:
  /// Allocates the arrays, all zero. Throws std::invalid_argument if names are not unique, or if a shape, a
  /// multiplier or an initializer is invalid.
  explicit Parameters(std::vector<Segment> segments, std::vector<Segment> state_segments = {});

  /// The number of parameters.
  std::int64_t count() const { return count_; }
  /// The number of elements of non-trained state.
  std::int64_t state_count() const { return state_count_; }
  /// The values for writing. Call this again before writing after a prediction, or use begin_borrow() while
  /// you keep the pointer.
  T* values() {
    version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // it changes
    return values_.data();
  }
  T* gradients() { return gradients_.data(); }
  T* state() { return state_.data(); }
  const T* values() const { return values_.data(); }
  const T* gradients() const { return gradients_.data(); }
  const T* state() const { return state_.data(); }

  const std::vector<Segment>& segments() const { return segments_; }
  const std::vector<Segment>& state_segments() const { return state_segments_; }
  /// The offset of segment `index` in values and gradients.
  std::int64_t offset(int index) const { return places_[static_cast<std::size_t>(index)].offset; }
  /// The offset of state segment `index` in state.
  std::int64_t state_offset(int index) const { return state_offsets_[static_cast<std::size_t>(index)]; }
  /// The index of the segment with that name. Throws std::invalid_argument if there is none.
  int index_of(std::string_view segment_name) const;

  /// The values of segment `index` as a matrix (O, I), or (O, 1) for a vector. `group` selects one matrix of
  /// a segment with three dimensions. The rules of values() apply to writing.
  Matrix<T> value(int index, std::int64_t group = 0) { return matrix_of<T>(index, group, values()); }
  Matrix<const T> value(int index, std::int64_t group = 0) const {
    return matrix_of<const T>(index, group, values());
  }
  /// The gradient of segment `index`, in the same form.
  Matrix<T> gradient(int index, std::int64_t group = 0) {
    return matrix_of<T>(index, group, gradients_.data());
  }
  /// The elements of state segment `index`.
  T* state_value(int index) { return state_.data() + state_offset(index); }

  /// Fills every segment and state segment with its initializer. Random numbers depend on the seed and the
  /// index of the segment only. Also sets `seed`, and `random_step` to 0.
  void initialize(std::uint64_t seed);

  std::uint64_t seed = 0;         ///< the seed of dropout
  std::uint64_t random_step = 0;  ///< the number of training passes made, for dropout

  void set_trainable(int index, bool trainable);
  void set_learning_rate_multiplier(int index, double multiplier);
  void set_weight_decay_multiplier(int index, double multiplier);

  /// Copies the values and state of another store. Throws std::invalid_argument if shapes differ.
  void copy_from(const Parameters& other);
  /// values += fraction * (other's values - values), and the same for state, with fraction in [0, 1]. Throws
  /// std::invalid_argument if shapes differ or the fraction is out of range.
  void soft_update(const Parameters& other, double fraction);

  /// The lock that the Python bindings take; C++ callers may use it the same way.
  Usage& usage() { return usage_; }

  /// Whether all values are known to be finite, so that products may skip zeros of the other operand. The
  /// values are scanned at the second call after they may have changed; before that, and while they are
  /// borrowed, this returns false.
  bool known_finite();
  /// Between begin_borrow() and end_borrow(), values may be written at any time.
  void begin_borrow() { borrowers_.fetch_add(1); }
  void end_borrow() {
    values();
    borrowers_.fetch_sub(1);
  }

 private:
  /// The offset of a segment and the matrix that it stands for.
  struct Place {
    std::int64_t offset, rows, columns, row_stride, column_stride;
  };

  template <class U>
  Matrix<U> matrix_of(int index, std::int64_t group, U* data) const {
    check_index(index);
    const Place& place = places_[static_cast<std::size_t>(index)];
    return {data + place.offset + group * place.rows * place.columns, place.rows, place.columns,
            place.row_stride, place.column_stride};
  }
  void check_index(int index) const {
    if (index < 0 || static_cast<std::size_t>(index) >= places_.size()) refuse_index(index);
  }
  [[noreturn]] void refuse_index(int index) const;
  void check_same_layout(const Parameters& other) const;

  std::vector<Segment> segments_, state_segments_;
  std::vector<Place> places_;  ///< of the segments
  std::vector<std::int64_t> state_offsets_;
  std::int64_t count_ = 0, state_count_ = 0;
  AlignedBuffer<T> values_, gradients_, state_;
  Usage usage_;
  std::atomic<std::uint64_t> version_ = 1;  ///< of the values
  /// What known_finite() found, and for which version: 4 * version + Finite.
  enum Finite : std::uint64_t { asked, no, yes };
  std::atomic<std::uint64_t> finite_ = 0;
  std::atomic<int> borrowers_ = 0;
};

}  // namespace nncore
