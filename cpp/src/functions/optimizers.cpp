#include "functions/optimizers.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "functions/join.hpp"
#include "functions/reductions.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kGrain = 1 << 15;  ///< up to this many parameters stay on one thread

std::string text_of(OptimizerKind kind, std::int64_t count, const std::vector<std::string>& slots) {
  std::string text = join(entry_of(kind).name, " with ", count, " parameters and ");
  for (std::size_t i = 0; i < slots.size(); ++i) text += (i == 0 ? "the slots " : ", ") + slots[i];
  return text + (slots.empty() ? "no slots" : "");
}

}  // namespace

void validate(const Optimizer& optimizer) {
  const OptimizerEntry& entry = entry_of(optimizer.kind);
  check_parameters(optimizer, entry);
  if (const char* const conflict = entry.conflict != nullptr ? entry.conflict(optimizer) : nullptr)
    throw std::invalid_argument(conflict);
}

void validate(const Factors& factors) {
  check_parameter("the factor of learning_rate", kNotNegative, factors.learning_rate);
  check_parameter("the factor of weight_decay", kNotNegative, factors.weight_decay);
}

// The state ------------------------------------------------------------------------------------------------

template <class T>
OptimizerState<T>::OptimizerState(const Optimizer& optimizer, std::int64_t parameter_count)
    : kind_(optimizer.kind), count_(parameter_count) {
  constexpr std::int64_t kMost = std::numeric_limits<std::ptrdiff_t>::max() / sizeof(T);
  if (parameter_count < 0 || parameter_count > kMost)
    throw invalid("parameter_count must be in [0, ", kMost, "]; got ", parameter_count);
  const OptimizerEntry& entry = entry_of(kind_);
  for (std::size_t i = 0; i < own_.size(); ++i) {
    const Slot& slot = entry.slots[i];
    if (!slot.exists(optimizer)) continue;
    own_[i] = AlignedBuffer<T>(count_);
    if (slot.initial != nullptr)
      std::fill_n(own_[i].data(), own_[i].size(), static_cast<T>(optimizer.*slot.initial));
    if (!slot.never_negative && slot.initial != nullptr) know(kUnknown);
  }
}

template <class T>
std::vector<std::string> OptimizerState<T>::slot_names() const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < own_.size(); ++i)
    if (own_[i].size() > 0) names.emplace_back(entry_of(kind_).slots[i].name);
  for (const TransformSlot& slot : of_transforms_) names.push_back(slot.name);
  return names;
}

template <class T>
const T* OptimizerState<T>::find(std::string_view name) const {
  for (std::size_t i = 0; i < own_.size(); ++i)
    if (own_[i].size() > 0 && name == entry_of(kind_).slots[i].name) return own_[i].data();
  for (const TransformSlot& slot : of_transforms_)
    if (name == slot.name) return slot.values.data();
  return nullptr;
}

template <class T>
T* OptimizerState<T>::transform_slot(std::string_view name, const T* start) {
  for (TransformSlot& slot : of_transforms_)
    if (name == slot.name) return slot.values.data();
  TransformSlot slot{std::string(name), AlignedBuffer<T>(count_)};
  std::copy_n(start, count_, slot.values.data());
  of_transforms_.push_back(std::move(slot));
  return of_transforms_.back().values.data();
}

template <class T>
double OptimizerState<T>::largest_moment() {
  const double known = largest_.load(std::memory_order_relaxed);
  if (known != kUnknown && borrowers_.load() == 0) return known;
  double largest = 0.0;
  for (std::size_t i = 0; i < own_.size(); ++i) {
    const T* const slot = own_[i].data();
    const std::int64_t count = own_[i].size();
    const double here = largest_magnitude(slot, count);
    if (!std::isfinite(here)) return kUnknown;
    if (!entry_of(kind_).slots[i].never_negative)
      largest = std::max(largest, here);
    else if (std::any_of(slot, slot + count, [](T v) { return v < T{0}; }))
      return kUnknown;
  }
  return largest;
}

template <class T>
void validate(const Optimizer& optimizer, const OptimizerState<T>& state, std::int64_t parameter_count) {
  validate(optimizer);
  if (state.steps < 0 || state.steps >= kMostSteps)
    throw invalid("steps must be at least 0 and less than 2^53; got ", state.steps);
  const OptimizerEntry& entry = entry_of(optimizer.kind);
  bool fits = state.kind_ == optimizer.kind && state.count_ == parameter_count;
  for (std::size_t i = 0; i < state.own_.size(); ++i)
    fits = fits && (state.own_[i].size() > 0) == (entry.slots[i].exists(optimizer) && parameter_count > 0);
  if (fits) return;
  std::vector<std::string> slots;
  for (const Slot& slot : entry.slots)
    if (slot.exists(optimizer)) slots.emplace_back(slot.name);
  throw invalid("state must be for ", text_of(optimizer.kind, parameter_count, slots), "; got one for ",
                text_of(state.kind_, state.count_, state.slot_names()));
}

// A step ---------------------------------------------------------------------------------------------------

template <class T>
OptimizerStep<T>::OptimizerStep(const Optimizer& optimizer, std::int64_t step, Factors factors)
    : optimizer_(optimizer),
      kernel_(kernels::active<T>().update[static_cast<int>(optimizer.kind)]),
      learning_rate_(optimizer.learning_rate * factors.learning_rate),
      weight_decay_(optimizer.weight_decay * factors.weight_decay),
      l2_(optimizer.l2 * factors.weight_decay) {
  kernel_.prepare(optimizer, step, prepared_);
}

template <class T>
bool OptimizerStep<T>::is_descent(const kernels::UpdateScalars<T>& scalars) const {
  const OptimizerEntry& entry = entry_of(optimizer_.kind);
  return entry.is_descent && scalars.decay_factor == T{1} && scalars.l2 == T{0} &&
         std::none_of(std::begin(entry.slots), std::end(entry.slots),
                      [&](const Slot& slot) { return slot.exists(optimizer_); });
}

template <class T>
kernels::UpdateScalars<T> OptimizerStep<T>::scalars(double learning_rate_multiplier,
                                                    double weight_decay_multiplier) const {
  const double learning_rate = learning_rate_ * learning_rate_multiplier;
  const double weight_decay = weight_decay_ * weight_decay_multiplier;
  kernels::UpdateScalars<T> scalars = prepared_;
  scalars.learning_rate = static_cast<T>(learning_rate / prepared_.rate_divisor);
  scalars.decay_factor = static_cast<T>(1.0 - learning_rate * weight_decay);
  scalars.l2 = static_cast<T>(l2_ * weight_decay_multiplier);
  return scalars;
}

template <class T>
double OptimizerStep<T>::safe_gradient(const kernels::UpdateScalars<T>& s, double moment) const {
  // A quarter of the last place of the largest T. Changes of up to this leave any finite T finite, because
  // they round away when added to the largest.
  constexpr double kLargest =
      0.125 * std::numeric_limits<T>::epsilon() * static_cast<double>(std::numeric_limits<T>::max());
  const double rate = std::abs(static_cast<double>(s.learning_rate));
  const bool is_known = kernel_.safe_gradient != nullptr && std::isfinite(moment);
  if (!is_known || !(rate <= kLargest) || !(std::abs(s.decay_factor) <= T{1})) return 0.0;
  const double direction = rate > 1.0 ? kLargest / rate : kLargest;  // before the learning rate multiplies it
  return kernel_.safe_gradient(optimizer_, direction, moment, kLargest);
}

template <class T>
double OptimizerStep<T>::next_moment(double moment, double gradient) const {
  constexpr double kRounding = 1.0 + 1e-6;
  if (kernel_.next_moment == nullptr) return std::numeric_limits<double>::infinity();
  return kernel_.next_moment(optimizer_, moment, gradient) * kRounding;
}

template <class T>
void OptimizerStep<T>::update(const kernels::UpdateScalars<T>& scalars, T* parameters, const T* gradients,
                              const SlotPointers<T>& slots, std::int64_t count) const {
  parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    kernels::UpdateCall<T> call{scalars, parameters + begin, gradients + begin, {}, end - begin};
    for (std::size_t i = 0; i < slots.size(); ++i)
      call.slots[i] = slots[i] != nullptr ? slots[i] + begin : nullptr;
    kernel_.run(call);
  });
}

template <class T>
void optimizer_update(const Optimizer& optimizer, std::int64_t step, T* parameters, const T* gradients,
                      const std::array<T*, kMaxSlots>& slots, std::int64_t count,
                      double learning_rate_multiplier, double weight_decay_multiplier) {
  validate(optimizer);
  if (step < 1 || step > kMostSteps) throw invalid("step must be in [1, 2^53]; got ", step);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = entry_of(optimizer.kind).slots[i];
    if (slot.exists(optimizer) && slots[i] == nullptr && count > 0)
      throw invalid(slot.name, " must be an array as long as the parameters; got none");
  }
  const FloatingPointMode mode;
  const OptimizerStep<T> one(optimizer, step);
  one.update(one.scalars(learning_rate_multiplier, weight_decay_multiplier), parameters, gradients, slots,
             count);
}

#define NNCORE_INSTANTIATE(T)                                                       \
  template class OptimizerState<T>;                                                 \
  template void validate(const Optimizer&, const OptimizerState<T>&, std::int64_t); \
  template class OptimizerStep<T>;                                                  \
  template void optimizer_update(const Optimizer&, std::int64_t, T*, const T*,      \
                                 const std::array<T*, kMaxSlots>&, std::int64_t, double, double);
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
