#include "training/store_update.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

#include "functions/reductions.hpp"
#include "nncore/not_finite.hpp"

namespace nncore {

template <class T>
T StoreUpdate<T>::descent(const Segment& segment) const {
  if (!segment.trainable) return 0;
  const kernels::UpdateScalars<T>& numbers = scalars(segment);
  return step_.is_descent(numbers) ? -numbers.learning_rate : T{0};
}

template <class T>
bool StoreUpdate<T>::approves(const Segment& segment, std::int64_t offset, std::int64_t count,
                              double largest_gradient) {
  const kernels::UpdateScalars<T>& numbers = scalars(segment);
  if (numbers.l2 != T{0}) {
    constexpr double kRounding = 1.0 + 1e-6;
    const double largest = largest_magnitude<T>(std::as_const(store_).values() + offset, count);
    largest_gradient = (largest_gradient + std::abs(static_cast<double>(numbers.l2)) * largest) * kRounding;
  }
  if (!(largest_gradient <= step_.safe_gradient(numbers, moment_))) return false;
  gradient_ = std::max(gradient_, largest_gradient);
  return true;
}

template <class T>
void StoreUpdate<T>::approve(std::span<const int> segments, std::span<const UpdateWay> ways) {
  const auto is_due = [ways](std::size_t index) { return ways.empty() || ways[index] == UpdateWay::look; };
  for_each_run(segments, is_due, [&](std::span<const int> run, std::int64_t offset, std::int64_t count) {
    const Segment& like = store_.segments()[static_cast<std::size_t>(run[0])];
    if (approves(like, offset, count, largest_magnitude<T>(store_.gradients() + offset, count))) return;
    for (const int segment : run) try_out(segment);
  });
}

template <class T>
void StoreUpdate<T>::run(std::span<const int> segments, std::span<const UpdateWay> ways) {
  const auto is_due = [ways](std::size_t index) { return ways.empty() || ways[index] != UpdateWay::fused; };
  T *const values = store_.values(), *const gradients = store_.gradients();
  for_each_run(segments, is_due, [&](std::span<const int> run, std::int64_t offset, std::int64_t count) {
    step_.update(scalars(store_.segments()[static_cast<std::size_t>(run[0])]), values + offset,
                 gradients + offset, slots(offset), count);
  });
  state_.know(tried_out_ ? OptimizerState<T>::kUnknown : step_.next_moment(moment_, gradient_));
  ++state_.steps;
}

/// Calls body(segments, offset, count) for neighbors that are due and have the same multipliers, and so form
/// one array.
template <class T>
template <class IsDue, class Body>
void StoreUpdate<T>::for_each_run(std::span<const int> segments, IsDue is_due, Body body) const {
  const std::vector<Segment>& all = store_.segments();
  const auto takes_part = [&](int segment) {
    const auto index = static_cast<std::size_t>(segment);
    return all[index].trainable && is_due(index);
  };
  for (std::size_t i = 0; i < segments.size();) {
    if (!takes_part(segments[i])) {
      ++i;
      continue;
    }
    const std::size_t first = i;
    const Segment& like = all[static_cast<std::size_t>(segments[first])];
    const std::int64_t begin = store_.offset(segments[first]);
    std::int64_t end = begin;
    for (; i < segments.size(); ++i) {
      const Segment& next = all[static_cast<std::size_t>(segments[i])];
      if (!takes_part(segments[i]) || store_.offset(segments[i]) != end || !are_alike(like, next)) break;
      end += next.size();
    }
    body(segments.subspan(first, i - first), begin, end - begin);
  }
}

template <class T>
bool StoreUpdate<T>::are_alike(const Segment& a, const Segment& b) const {
  return a.learning_rate_multiplier == b.learning_rate_multiplier &&
         (a.weight_decay_multiplier == b.weight_decay_multiplier || !step_.decays());
}

/// Computed once for segments with the same multipliers, as most have.
template <class T>
const kernels::UpdateScalars<T>& StoreUpdate<T>::scalars(const Segment& segment) const {
  if (like_ == nullptr || !are_alike(*like_, segment)) {
    scalars_ = step_.scalars(segment.learning_rate_multiplier, segment.weight_decay_multiplier);
    like_ = &segment;
  }
  return scalars_;
}

/// The slots of the parameters from `offset` on.
template <class T>
SlotPointers<T> StoreUpdate<T>::slots(std::int64_t offset) const {
  SlotPointers<T> pointers{};
  for (std::size_t i = 0; i < pointers.size(); ++i)
    if (state_.own_[i].size() > 0) pointers[i] = state_.own_[i].data() + offset;
  return pointers;
}

/// Makes the update on copies, block by block. Parameters that were not finite before may stay so.
template <class T>
void StoreUpdate<T>::try_out(int segment) {
  constexpr std::int64_t kBlock = 512;
  T value[kBlock], slot[kMaxSlots][kBlock];
  const Segment& like = store_.segments()[static_cast<std::size_t>(segment)];
  const kernels::UpdateScalars<T>& numbers = scalars(like);
  const std::int64_t end = store_.offset(segment) + like.size();
  const T* const values = std::as_const(store_).values();
  const auto is_finite = [](T number) { return std::isfinite(number); };
  tried_out_ = true;
  for (std::int64_t begin = store_.offset(segment); begin < end; begin += kBlock) {
    const std::int64_t count = std::min(kBlock, end - begin);
    std::copy_n(values + begin, count, value);
    SlotPointers<T> copies = slots(begin);
    for (std::size_t i = 0; i < copies.size(); ++i)
      if (copies[i] != nullptr) copies[i] = (std::copy_n(copies[i], count, slot[i]), slot[i]);
    step_.update(numbers, value, store_.gradients() + begin, copies, count);
    bool leaves_finite = true;
    for (const T* const copy : copies)
      leaves_finite = leaves_finite && (copy == nullptr || std::all_of(copy, copy + count, is_finite));
    for (std::int64_t i = 0; i < count; ++i)
      leaves_finite = leaves_finite && (is_finite(value[i]) || !is_finite(values[begin + i]));
    if (!leaves_finite) refuse(segment);
  }
}

template <class T>
void StoreUpdate<T>::refuse(int segment) const {
  const Segment& like = store_.segments()[static_cast<std::size_t>(segment)];
  const double largest =
      largest_magnitude<T>(std::as_const(store_).gradients() + store_.offset(segment), like.size());
  std::ostringstream message;
  if (std::isfinite(largest))
    message << "the update of " << like.name << " is not finite in step " << state_.steps + 1
            << " (learning rate " << step_.learning_rate() << ", largest gradient " << largest << ")";
  else
    message << "the gradient of " << like.name << " is not finite in step " << state_.steps + 1;
  message << "; that step was not made";
  throw NotFinite(message.str());
}

template class StoreUpdate<float>;
template class StoreUpdate<double>;

}  // namespace nncore
