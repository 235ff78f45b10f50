#include "nncore/parameters.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <set>
#include <stdexcept>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "functions/join.hpp"
#include "kernels/table.hpp"
#include "nncore/random.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

void check_segment(const Segment& segment) {
  if (segment.name.empty()) throw invalid("a segment's name must not be empty");
  const std::string of = join(" of segment '", segment.name, "'");
  const std::vector<std::int64_t>& shape = segment.shape;
  const bool is_right = !shape.empty() && shape.size() <= 3 &&
                        std::all_of(shape.begin(), shape.end(), [](std::int64_t size) { return size >= 1; });
  if (!is_right)
    throw invalid("shape", of, " must be one to three extents of at least 1; got ", shape_text(segment));
  check_parameter(("learning_rate_multiplier" + of).c_str(), kAnyNumber, segment.learning_rate_multiplier);
  check_parameter(("weight_decay_multiplier" + of).c_str(), kAnyNumber, segment.weight_decay_multiplier);
  validate(segment.initializer);
}

/// Checks a table of segments, whose names must not be in `names` yet. Appends the place where each starts to
/// `offsets`, and returns the sum of their sizes.
std::int64_t place(const std::vector<Segment>& segments, std::set<std::string_view>& names,
                   std::vector<std::int64_t>& offsets) {
  constexpr std::int64_t kMaxCount = std::numeric_limits<std::ptrdiff_t>::max() / sizeof(double);
  std::int64_t count = 0;
  for (const Segment& segment : segments) {
    check_segment(segment);
    if (!names.insert(segment.name).second)
      throw invalid("names of segments must differ; got '", segment.name, "' twice");
    std::int64_t left = kMaxCount - count;
    for (const std::int64_t extent : segment.shape) left /= extent;
    if (left < 1)
      throw invalid("shape of segment '", segment.name, "' must be small enough for memory; got ",
                    shape_text(segment));
    offsets.push_back(count);
    count += segment.size();
  }
  return count;
}

[[noreturn]] void refuse_segment(int index, std::size_t count) {
  throw invalid("segment index must be in [0, ", count, "); got ", index);
}

/// The segment with this index.
Segment& pick(std::vector<Segment>& segments, int index) {
  if (index < 0 || at(index) >= segments.size()) refuse_segment(index, segments.size());
  return segments[at(index)];
}

/// The number of forks between this process and the one that loaded the library. The calls that were using a
/// store in the parent do not exist in the child, except that of the thread that forked.
std::atomic<std::uint32_t> forks{0};
#if !defined(_WIN32)
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, [] { ++forks; });
#endif

constexpr std::uint32_t kWriter = std::numeric_limits<std::uint32_t>::max();

/// The upper half is `forks`, the lower half the number of readers, or kWriter.
std::uint64_t current_state(std::uint32_t users) { return std::uint64_t{forks.load()} << 32 | users; }

/// The number of readers in a state. Throws std::runtime_error if there is a writer.
std::uint32_t readers_now(std::uint64_t state) {
  const auto users = static_cast<std::uint32_t>(state);
  const bool is_parents = state >> 32 != forks.load();
  if (users == kWriter)
    throw std::runtime_error(is_parents
                                 ? "the model was being trained when this process was forked, and a step "
                                   "may be unfinished"
                                 : "the model is being trained or changed by another call; wait until that "
                                   "call has ended");
  return is_parents ? 0 : users;
}

}  // namespace

std::int64_t Segment::size() const {
  std::int64_t size = 1;
  for (const std::int64_t extent : shape) size *= extent;
  return size;
}

std::string shape_text(const Segment& segment) {
  std::string text;
  for (const std::int64_t extent : segment.shape) text += join(text.empty() ? "" : ", ", extent);
  return '(' + text + (segment.shape.size() == 1 ? ",)" : ")");
}

Segment weight_segment(std::string name, std::int64_t out_features, std::int64_t in_features,
                       Initializer initializer) {
  Segment segment;
  segment.name = std::move(name);
  segment.shape = {out_features, in_features};
  segment.initializer = initializer;
  segment.weight_decay_multiplier = 1.0;
  return segment;
}

Segment bias_segment(std::string name, std::int64_t out_features, Initializer initializer) {
  Segment segment;
  segment.name = std::move(name);
  segment.shape = {out_features};
  segment.initializer = initializer;
  return segment;
}

void Usage::begin_read() {
  std::uint64_t state = state_.load(std::memory_order_relaxed);
  while (
      !state_.compare_exchange_weak(state, current_state(readers_now(state) + 1), std::memory_order_acquire))
    continue;
}

void Usage::begin_copy() {
  copies_.fetch_add(1);
  try {
    begin_read();
  } catch (...) {
    copies_.fetch_sub(1);
    throw;
  }
}

bool Usage::try_begin_write() {
  std::uint64_t state = state_.load(std::memory_order_relaxed);
  do {
    const std::uint32_t readers = readers_now(state);
    if (readers > copies_.load())
      throw std::runtime_error("the model cannot be trained while another call is using the model");
    if (readers > 0) return false;
  } while (!state_.compare_exchange_weak(state, current_state(kWriter), std::memory_order_acquire));
  return true;
}

void Usage::begin_write() {
  while (!try_begin_write()) std::this_thread::yield();
}

template <class T>
Parameters<T>::Parameters(std::vector<Segment> segments, std::vector<Segment> state_segments)
    : segments_(std::move(segments)), state_segments_(std::move(state_segments)) {
  std::set<std::string_view> names;
  std::vector<std::int64_t> offsets;
  count_ = place(segments_, names, offsets);
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const std::int64_t rows = segments_[i].rows(), columns = segments_[i].columns();
    const bool is_by_rows = segments_[i].layout == SegmentLayout::by_rows;
    places_.push_back({offsets[i], rows, columns, is_by_rows ? columns : 1, is_by_rows ? 1 : rows});
  }
  state_count_ = place(state_segments_, names, state_offsets_);
  values_ = AlignedBuffer<T>(count_);
  gradients_ = AlignedBuffer<T>(count_);
  state_ = AlignedBuffer<T>(state_count_);
}

template <class T>
int Parameters<T>::index_of(std::string_view segment_name) const {
  const auto found = std::find_if(segments_.begin(), segments_.end(),
                                  [&](const Segment& segment) { return segment.name == segment_name; });
  if (found == segments_.end()) {
    std::string names;
    for (const Segment& segment : segments_) names += (names.empty() ? "" : ", ") + segment.name;
    throw invalid("segment name must be one of: ", names, "; got '", segment_name, "'");
  }
  return static_cast<int>(std::distance(segments_.begin(), found));
}

template <class T>
void Parameters<T>::refuse_index(int index) const {
  refuse_segment(index, places_.size());
}

template <class T>
bool Parameters<T>::known_finite() {
  if (borrowers_.load() > 0) return false;
  const std::uint64_t version = 4 * version_.load(std::memory_order_relaxed);
  std::uint64_t known = finite_.load(std::memory_order_relaxed);
  // Checks at the second call for a version only: where training and predicting alternate, checking costs
  // more than it saves.
  if (known < version) {
    finite_.store(version + asked, std::memory_order_relaxed);
  } else if (known == version + asked) {
    const kernels::Kernels<T>& kernels = kernels::active<T>();
    const T* const all = values_.data();
    const std::int64_t whole = count_ / kernels.lanes * kernels.lanes;
    const bool finite = kernels.all_finite(all, whole) &&
                        std::all_of(all + whole, all + count_, [](T value) { return std::isfinite(value); });
    finite_.compare_exchange_strong(known, version + (finite ? yes : no));
    return finite;
  }
  return known == version + yes;
}

template <class T>
void Parameters<T>::initialize(std::uint64_t new_seed) {
  const FloatingPointMode mode;
  const Uninterruptible writing;
  seed = new_seed;
  random_step = 0;
  const auto fill = [&](const Segment& segment, std::uint64_t number, T* out) {
    nncore::initialize<T>(segment.initializer, {seed, RandomPurpose::initialise, number}, segment.columns(),
                          segment.rows(), out, segment.size());
  };
  T* const all = values();
  for (std::size_t i = 0; i < segments_.size(); ++i) fill(segments_[i], i, all + places_[i].offset);
  for (std::size_t i = 0; i < state_segments_.size(); ++i)
    fill(state_segments_[i], segments_.size() + i, state_.data() + state_offsets_[i]);
}

template <class T>
void Parameters<T>::set_trainable(int index, bool trainable) {
  pick(segments_, index).trainable = trainable;
}

template <class T>
void Parameters<T>::set_learning_rate_multiplier(int index, double multiplier) {
  check_parameter("learning_rate_multiplier", kAnyNumber, multiplier);
  pick(segments_, index).learning_rate_multiplier = multiplier;
}

template <class T>
void Parameters<T>::set_weight_decay_multiplier(int index, double multiplier) {
  check_parameter("weight_decay_multiplier", kAnyNumber, multiplier);
  pick(segments_, index).weight_decay_multiplier = multiplier;
}

template <class T>
void Parameters<T>::check_same_layout(const Parameters& other) const {
  const auto check = [](const char* what, const std::vector<Segment>& ours,
                        const std::vector<Segment>& theirs) {
    if (theirs.size() != ours.size())
      throw invalid("other's number of ", what, "s must be ", ours.size(), "; got ", theirs.size());
    for (std::size_t i = 0; i < ours.size(); ++i)
      if (theirs[i].shape != ours[i].shape)
        throw invalid("shape of other's ", what, " '", theirs[i].name, "' must be ", shape_text(ours[i]),
                      ", the shape of '", ours[i].name, "'; got ", shape_text(theirs[i]));
  };
  check("segment", segments_, other.segments_);
  check("state segment", state_segments_, other.state_segments_);
}

template <class T>
void Parameters<T>::copy_from(const Parameters& other) {
  check_same_layout(other);
  const Uninterruptible writing;
  std::copy_n(other.values(), count_, values());
  std::copy_n(other.state(), state_count_, state());
}

template <class T>
void Parameters<T>::soft_update(const Parameters& other, double fraction) {
  check_same_layout(other);
  check_parameter("fraction", {.low = 0.0, .high = 1.0, .text = "a number from 0 to 1"}, fraction);
  const FloatingPointMode mode;
  const Uninterruptible writing;
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
