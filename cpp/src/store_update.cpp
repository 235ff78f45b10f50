#include "store_update.hpp"

#include <vector>

namespace nncore {

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

template class StoreUpdate<float>;
template class StoreUpdate<double>;

}  // namespace nncore
