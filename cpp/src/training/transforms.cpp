#include "nncore/transforms.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "functions/join.hpp"
#include "functions/reductions.hpp"
#include "nncore/entries.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kGrain = 1 << 15;  ///< up to this many numbers stay on one thread

/// values[i] = change(values[i]).
template <class T, class Change>
void change_all(T* values, std::int64_t count, Change change) {
  parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) values[i] = change(values[i]);
  });
}

/// Lets Derived write each function once, as a template.
template <class Derived>
class TransformOf : public Transform {
 public:
  void change_gradients(const TransformCall<float>& call) const final { self().change(call); }
  void change_gradients(const TransformCall<double>& call) const final { self().change(call); }
  void follow(const TransformCall<float>& call) const final { self().keep(call); }
  void follow(const TransformCall<double>& call) const final { self().keep(call); }

  template <class T>
  void change(const TransformCall<T>&) const {}
  template <class T>
  void keep(const TransformCall<T>&) const {}

 private:
  const Derived& self() const { return static_cast<const Derived&>(*this); }
};

class ClipByGlobalNorm final : public TransformOf<ClipByGlobalNorm> {
 public:
  explicit ClipByGlobalNorm(double max_norm) : max_norm_(max_norm) {
    check_parameter("max_norm", kPositive, max_norm);
  }

  template <class T>
  void change(const TransformCall<T>& call) const {
    const double norm = norm_of(call);
    // Non-finite gradients stay as they are: the step will be rejected, and its error names the segment.
    if (!(norm > max_norm_) || !std::isfinite(norm)) return;
    const T factor = static_cast<T>(max_norm_ / norm);
    call.for_each_piece([&](std::int64_t offset, std::int64_t count) {
      change_all(call.parameters.gradients() + offset, count, [factor](T g) { return g * factor; });
    });
  }

 private:
  template <class T>
  static double norm_of(const TransformCall<T>& call) {
    const auto sum = [&](double scale) {
      double total = 0.0;
      call.for_each_piece([&](std::int64_t offset, std::int64_t count) {
        total += sum_of_squares<T>(call.parameters.gradients() + offset, count, scale);
      });
      return total;
    };
    const double total = sum(1.0);
    if (std::isfinite(total)) return std::sqrt(total);
    double largest = 0.0;  // the squares overflowed, though the gradients may be finite
    call.for_each_piece([&](std::int64_t offset, std::int64_t count) {
      const double here = largest_magnitude<T>(call.parameters.gradients() + offset, count);
      largest = here > largest || std::isnan(here) ? here : largest;
    });
    return std::isfinite(largest) ? largest * std::sqrt(sum(1.0 / largest)) : largest;
  }

  double max_norm_;
};

class ClipByValue final : public TransformOf<ClipByValue> {
 public:
  explicit ClipByValue(double limit) : limit_(limit) { check_parameter("limit", kPositive, limit); }

  template <class T>
  void change(const TransformCall<T>& call) const {
    constexpr T kLargest = std::numeric_limits<T>::max();
    const T limit = static_cast<T>(std::min(limit_, static_cast<double>(kLargest)));
    call.for_each_piece([&](std::int64_t offset, std::int64_t count) {
      change_all(call.parameters.gradients() + offset, count, [=](T g) {
        if (g > limit) return g <= kLargest ? limit : g;  // an infinity stays: the step will be rejected
        if (g < -limit) return g >= -kLargest ? -limit : g;
        return g;
      });
    });
  }

 private:
  double limit_;
};

class MovingAverage final : public TransformOf<MovingAverage> {
 public:
  explicit MovingAverage(double decay) : decay_(decay) { check_parameter("decay", kFraction, decay); }
  const char* slot() const override { return "average"; }

  template <class T>
  void keep(const TransformCall<T>& call) const {
    const T decay = static_cast<T>(decay_), rest = static_cast<T>(1.0 - decay_);
    const T* const values = std::as_const(call.parameters).values();
    T* const average = call.state.transform_slot(slot(), values);
    call.for_each_piece([&](std::int64_t offset, std::int64_t count) {
      parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t i = offset + begin; i < offset + end; ++i)
          average[i] = decay * average[i] + rest * values[i];
      });
    });
  }

 private:
  double decay_;
};

}  // namespace

std::shared_ptr<const Transform> clip_by_global_norm(double max_norm) {
  return std::make_shared<ClipByGlobalNorm>(max_norm);
}

std::shared_ptr<const Transform> clip_by_value(double limit) { return std::make_shared<ClipByValue>(limit); }

std::shared_ptr<const Transform> moving_average(double decay) {
  return std::make_shared<MovingAverage>(decay);
}

template <class T>
void prepare_slots(Transforms transforms, OptimizerState<T>& state, const Parameters<T>& parameters) {
  for (std::size_t i = 0; i < transforms.size(); ++i) {
    const char* const slot = transforms[i]->slot();
    if (slot == nullptr) continue;
    if (state.parameter_count() != parameters.count())
      throw invalid("state must be for ", parameters.count(), " parameters; got one for ",
                    state.parameter_count());
    for (std::size_t j = 0; j < i; ++j)
      if (transforms[j]->slot() != nullptr && std::string_view(transforms[j]->slot()) == slot)
        throw invalid("transforms must keep different slots; got '", slot, "' twice");
    state.transform_slot(slot, parameters.values());
  }
}

template void prepare_slots(Transforms, OptimizerState<float>&, const Parameters<float>&);
template void prepare_slots(Transforms, OptimizerState<double>&, const Parameters<double>&);

}  // namespace nncore
