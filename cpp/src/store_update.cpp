#include "store_update.hpp"

#include <stdexcept>
#include <string>
#include <vector>

namespace nncore {

template <class T>
void check_update(const Optimizer& optimizer, const OptimizerState<T>& state, std::int64_t parameter_count) {
  validate(optimizer);
  const std::int64_t moments = moment_count(optimizer.kind);
  if (state.first_moment.size() < (moments > 0 ? parameter_count : 0) ||
      state.second_moment.size() < (moments > 1 ? parameter_count : 0)) {
    throw std::invalid_argument(std::string("the optimizer state was not made for '") + name(optimizer.kind) +
                                "' and " + std::to_string(parameter_count) + " parameters");
  }
}

template <class T>
T StoreUpdate<T>::descent(const Segment& segment) const {
  if (!step_.is_descent() || !segment.trainable) return 0;
  return -step_.scalars(segment.learning_rate_multiplier, segment.decay).learning_rate;
}

template <class T>
void StoreUpdate<T>::run(std::span<const int> segments, std::span<const char> updated) const {
  const std::vector<Segment>& all = store_.segments();
  const auto is_due = [&](int segment) {
    const auto index = static_cast<std::size_t>(segment);
    return all[index].trainable && (updated.empty() || updated[index] == 0);
  };
  for (std::size_t i = 0; i < segments.size();) {
    if (!is_due(segments[i])) {
      ++i;
      continue;
    }
    const Segment& first = all[static_cast<std::size_t>(segments[i])];
    const std::int64_t begin = store_.offset(segments[i]);
    std::int64_t end = begin;
    for (; i < segments.size(); ++i) {  // neighbours that are treated alike are one array
      const Segment& next = all[static_cast<std::size_t>(segments[i])];
      if (!is_due(segments[i]) || store_.offset(segments[i]) != end || !are_alike(first, next)) break;
      end += next.size();
    }
    run_on(first, begin, end - begin);
  }
}

template <class T>
bool StoreUpdate<T>::are_alike(const Segment& a, const Segment& b) const {
  return a.learning_rate_multiplier == b.learning_rate_multiplier && (a.decay == b.decay || !step_.decays());
}

template <class T>
void StoreUpdate<T>::run_on(const Segment& like, std::int64_t offset, std::int64_t count) const {
  const int moments = moment_count(step_.optimizer.kind);
  step_.update(step_.scalars(like.learning_rate_multiplier, like.decay), store_.values() + offset,
               store_.gradients() + offset, moments > 0 ? state_.first_moment.data() + offset : nullptr,
               moments > 1 ? state_.second_moment.data() + offset : nullptr, count);
}

#define NNCORE_INSTANTIATE(T)                                                           \
  template void check_update(const Optimizer&, const OptimizerState<T>&, std::int64_t); \
  template class StoreUpdate<T>;
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
