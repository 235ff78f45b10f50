// Parameters: the store of everything a model learns, and of what it remembers without learning it.
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

/// How the elements of a segment of two or more dimensions follow one another. The last two dimensions are
/// those of a matrix (O, I), and any before them count matrices that lie one after the other.
enum class SegmentLayout {
  by_columns,  ///< the outputs of one input lie together, as products like a weight
  by_rows      ///< the elements of one row lie together, as those of an embedding
};

/// One named piece of the flat arrays: a weight (O, I), a vector (O), a table of rows (N, D), ...
struct Segment {
  std::string name;
  std::vector<std::int64_t> shape;
  SegmentLayout layout = SegmentLayout::by_columns;
  Initializer initializer{};
  bool trainable = true;
  double learning_rate_multiplier = 1.0;
  double weight_decay_multiplier = 0.0;  ///< of weight_decay and l2; 1 for weights

  bool is_vector() const { return shape.size() == 1; }
  /// Of one matrix; a vector is one column.
  std::int64_t rows() const { return is_vector() ? shape[0] : shape[shape.size() - 2]; }
  std::int64_t columns() const { return is_vector() ? 1 : shape.back(); }
  std::int64_t size() const;
};

/// "(3, 4)"
std::string shape_text(const Segment& segment);

Segment weight_segment(std::string name, std::int64_t out_features, std::int64_t in_features,
                       Initializer initializer = InitializerKind::glorot_uniform);
Segment bias_segment(std::string name, std::int64_t out_features, Initializer initializer = {});

/// Who uses a store right now: many may predict or copy, or one may train. A forked child has none
/// of its parent's readers.
class Usage {
 public:
  /// Throw std::runtime_error where somebody trains (read), or somebody uses it at all (write).
  void begin_read();
  void end_read() { state_.fetch_sub(1, std::memory_order_release); }
  void begin_write();
  void end_write() { state_.store(0, std::memory_order_release); }

  /// A read that ends soon, as one that saves the parameters. A writer waits for it; beside other reads, a
  /// writer fails.
  void begin_copy();
  void end_copy() {
    end_read();
    copies_.fetch_sub(1, std::memory_order_release);
  }
  /// begin_write, which returns false where nothing but copies is in the way.
  bool try_begin_write();

 private:
  std::atomic<std::uint64_t> state_{0};   // the number of forks that the process comes from, and the users
  std::atomic<std::uint32_t> copies_{0};  // how many of the users copy, or are about to
};

/// The store: flat arrays of exactly the segments' elements, in their order, values and gradients of
/// one length; and a state array of its own table, which no optimizer changes (running statistics).
/// Several networks may share one store.
template <class T>
class Parameters {
 public:
  explicit Parameters(std::vector<Segment> segments, std::vector<Segment> state_segments = {});

  std::int64_t count() const { return count_; }
  std::int64_t state_count() const { return state_count_; }
  /// For writing. Whoever keeps the pointer calls this again before writing after a prediction, or borrows
  /// the values as long as it is kept.
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
  /// Where segment `index` starts in values and gradients; in state.
  std::int64_t offset(int index) const { return places_[static_cast<std::size_t>(index)].offset; }
  std::int64_t state_offset(int index) const { return state_offsets_[static_cast<std::size_t>(index)]; }
  /// The segment of that name; throws std::invalid_argument where there is none.
  int index_of(std::string_view segment_name) const;

  /// Segment `index` as the matrix (O, I) it stands for, or (O, 1); where it is several, that of number
  /// `group`. To write to it, as values().
  Matrix<T> value(int index, std::int64_t group = 0) { return matrix_of<T>(index, group, values()); }
  Matrix<const T> value(int index, std::int64_t group = 0) const {
    return matrix_of<const T>(index, group, values());
  }
  Matrix<T> gradient(int index, std::int64_t group = 0) {
    return matrix_of<T>(index, group, gradients_.data());
  }
  /// State segment `index`, (O): its elements.
  T* state_value(int index) { return state_.data() + state_offset(index); }

  /// Fills every segment by its initializer, numbers drawn from Philox under (seed, segment). The seed is
  /// that of dropout, too, which counts its steps from 0 then.
  void initialize(std::uint64_t seed);

  /// What dropout draws from: the seed, and how many passes for training have been made.
  std::uint64_t seed = 0;
  std::uint64_t random_step = 0;

  void set_trainable(int index, bool trainable);
  void set_learning_rate_multiplier(int index, double multiplier);
  void set_weight_decay_multiplier(int index, double multiplier);

  /// values = other's values (and state); throws std::invalid_argument where segments' shapes differ.
  void copy_from(const Parameters& other);
  /// values += fraction (other's values - values), fraction in [0, 1], the same for state.
  void soft_update(const Parameters& other, double fraction);

  Usage& usage() { return usage_; }

  /// Whether all values are known to be finite, so that a zero takes its part of a product away. They are
  /// looked at when this is asked for the second time since they may have changed; it is false before, and
  /// while they are borrowed.
  bool known_finite();
  /// While somebody may write values at any time.
  void begin_borrow() { borrowers_.fetch_add(1); }
  void end_borrow() {
    values();
    borrowers_.fetch_sub(1);
  }

 private:
  /// Where a segment starts, and the matrix that it is.
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
  /// What known_finite has found, and for which version: 4 version + Finite.
  enum Finite : std::uint64_t { asked, no, yes };
  std::atomic<std::uint64_t> finite_ = 0;
  std::atomic<int> borrowers_ = 0;
};

}  // namespace nncore
