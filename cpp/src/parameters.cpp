#include "nncore/parameters.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>
#include <stdexcept>

#include "nncore/random.hpp"

namespace nncore {
namespace {

/// A distribution's scale is sqrt(numerator / fan), fan = in_features, plus out_features if `both`.
struct InitializerTraits {
  const char* name;
  bool uniform;
  bool both;
  double numerator;
};

/// In the order of InitializerKind.
constexpr InitializerTraits kInitializers[] = {
    {"zeros", false, false, 0.0},        {"constant", false, false, 0.0},
    {"glorot_uniform", true, true, 6.0}, {"glorot_normal", false, true, 2.0},
    {"he_uniform", true, false, 6.0},    {"he_normal", false, false, 2.0},
};

const InitializerTraits& traits(InitializerKind kind) { return kInitializers[static_cast<int>(kind)]; }

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Checks a table of segments and tells where each starts; returns the sum of their sizes.
std::int64_t place(const std::vector<Segment>& segments, std::vector<std::int64_t>& offsets) {
  std::set<std::string> names;
  std::int64_t count = 0;
  for (const Segment& segment : segments) {
    const std::string what = "segment '" + segment.name + "'";
    if (segment.name.empty()) throw std::invalid_argument("a segment has no name");
    if (!names.insert(segment.name).second) throw std::invalid_argument(what + " occurs twice");
    if (segment.rows < 1 || segment.columns < 1 || (segment.is_vector && segment.columns != 1)) {
      throw std::invalid_argument(what + " has shape (" + std::to_string(segment.rows) + ", " +
                                  std::to_string(segment.columns) +
                                  "); sizes must be at least 1, and a vector has one column");
    }
    if (!std::isfinite(segment.learning_rate_multiplier) || !std::isfinite(segment.initializer.value)) {
      throw std::invalid_argument(what + " has a learning-rate multiplier or constant that is not finite");
    }
    offsets.push_back(count);
    count += segment.size();
  }
  return count;
}

template <class T>
void fill(const Segment& segment, RandomStream stream, T* out) {
  const InitializerTraits& initializer = traits(segment.initializer.kind);
  if (initializer.numerator == 0.0) {
    const bool constant = segment.initializer.kind == InitializerKind::constant;
    std::fill_n(out, segment.size(), static_cast<T>(constant ? segment.initializer.value : 0.0));
    return;
  }
  const auto fan = static_cast<double>(segment.columns + (initializer.both ? segment.rows : 0));
  const double scale = std::sqrt(initializer.numerator / fan);
  if (initializer.uniform)
    fill_uniform<T>(stream, -scale, scale, out, segment.size());
  else
    fill_normal<T>(stream, 0.0, scale, out, segment.size());
}

}  // namespace

const char* name(InitializerKind kind) { return traits(kind).name; }

Segment weight_segment(std::string name, std::int64_t out_features, std::int64_t in_features,
                       Initializer initializer) {
  Segment segment;
  segment.name = std::move(name);
  segment.rows = out_features;
  segment.columns = in_features;
  segment.initializer = initializer;
  segment.decay = true;
  return segment;
}

Segment bias_segment(std::string name, std::int64_t out_features, Initializer initializer) {
  Segment segment;
  segment.name = std::move(name);
  segment.rows = out_features;
  segment.is_vector = true;
  segment.initializer = initializer;
  return segment;
}

void Usage::begin_read() {
  int users = users_.load(std::memory_order_relaxed);
  do {
    if (users < 0) throw std::runtime_error("the model is being trained by another call; wait for it to end");
  } while (!users_.compare_exchange_weak(users, users + 1, std::memory_order_acquire));
}

void Usage::begin_write() {
  int users = 0;
  if (users_.compare_exchange_strong(users, -1, std::memory_order_acquire)) return;
  throw std::runtime_error(users < 0
                               ? "the model is being trained by another call; wait for it to end"
                               : "another call is using the model, which cannot be trained at the same time");
}

template <class T>
Parameters<T>::Parameters(std::vector<Segment> segments, std::vector<Segment> state_segments)
    : segments_(std::move(segments)), state_segments_(std::move(state_segments)) {
  count_ = place(segments_, offsets_);
  state_count_ = place(state_segments_, state_offsets_);
  values_ = AlignedBuffer<T>(count_);
  gradients_ = AlignedBuffer<T>(count_);
  state_ = AlignedBuffer<T>(state_count_);
}

template <class T>
int Parameters<T>::index_of(std::string_view segment_name) const {
  const auto found = std::find_if(segments_.begin(), segments_.end(),
                                  [&](const Segment& segment) { return segment.name == segment_name; });
  if (found == segments_.end()) {
    throw std::invalid_argument("there is no segment '" + std::string(segment_name) + "'");
  }
  return static_cast<int>(std::distance(segments_.begin(), found));
}

template <class T>
Matrix<T> Parameters<T>::value(int index) {
  const Segment& segment = segments_[at(index)];
  return {values_.data() + offset(index), segment.rows, segment.columns, 1, segment.rows};
}

template <class T>
Matrix<T> Parameters<T>::gradient(int index) {
  const Segment& segment = segments_[at(index)];
  return {gradients_.data() + offset(index), segment.rows, segment.columns, 1, segment.rows};
}

template <class T>
void Parameters<T>::initialize(std::uint64_t seed) {
  const auto fill_all = [&](const std::vector<Segment>& table, const std::vector<std::int64_t>& offsets,
                            T* out, std::uint64_t first_stream) {
    for (std::size_t i = 0; i < table.size(); ++i) {
      fill<T>(table[i], {seed, RandomPurpose::initialise, first_stream + i}, out + offsets[i]);
    }
  };
  fill_all(segments_, offsets_, values_.data(), 0);
  fill_all(state_segments_, state_offsets_, state_.data(), segments_.size());
}

template <class T>
void Parameters<T>::set_trainable(int index, bool trainable) {
  segments_.at(at(index)).trainable = trainable;
}

template <class T>
void Parameters<T>::set_learning_rate_multiplier(int index, double multiplier) {
  if (!std::isfinite(multiplier)) throw std::invalid_argument("a learning-rate multiplier must be finite");
  segments_.at(at(index)).learning_rate_multiplier = multiplier;
}

template <class T>
void Parameters<T>::set_decay(int index, bool decay) {
  segments_.at(at(index)).decay = decay;
}

template <class T>
void Parameters<T>::check_same_layout(const Parameters& other) const {
  const auto same = [](const Segment& a, const Segment& b) {
    return a.rows == b.rows && a.columns == b.columns;
  };
  const auto check = [&](const std::vector<Segment>& ours, const std::vector<Segment>& theirs) {
    if (!std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end(), same)) {
      throw std::invalid_argument("the other model's parameters have other shapes");
    }
  };
  check(segments_, other.segments_);
  check(state_segments_, other.state_segments_);
}

template <class T>
void Parameters<T>::copy_from(const Parameters& other) {
  check_same_layout(other);
  std::copy_n(other.values(), count_, values());
  std::copy_n(other.state(), state_count_, state());
}

template <class T>
void Parameters<T>::blend(const Parameters& other, double fraction) {
  check_same_layout(other);
  if (!(fraction >= 0.0 && fraction <= 1.0)) {
    throw std::invalid_argument("fraction is " + std::to_string(fraction) + "; allowed are 0 to 1");
  }
  const T part = static_cast<T>(fraction);
  const auto move_towards = [part](const T* theirs, std::int64_t count, T* ours) {
    for (std::int64_t i = 0; i < count; ++i) ours[i] += part * (theirs[i] - ours[i]);
  };
  move_towards(other.values(), count_, values());
  move_towards(other.state(), state_count_, state());
}

template class Parameters<float>;
template class Parameters<double>;

}  // namespace nncore
