#include "nncore/initializers.hpp"

#include <algorithm>
#include <cmath>

namespace nncore {

void validate(const Initializer& initializer) { check_parameters(initializer, entry_of(initializer.kind)); }

template <class T>
void initialize(const Initializer& initializer, RandomStream stream, std::int64_t fan_in,
                std::int64_t fan_out, T* out, std::int64_t count) {
  const InitializerEntry& entry = entry_of(initializer.kind);
  const auto fan = static_cast<double>(fan_in + (entry.fan == Fan::in_and_out ? fan_out : 0));
  const double scale =
      entry.fan == Fan::none ? initializer.standard_deviation : std::sqrt(entry.numerator / fan);
  switch (entry.distribution) {
    case Distribution::constant:
      std::fill_n(out, count, static_cast<T>(initializer.value));
      break;
    case Distribution::uniform:
      fill_uniform<T>(stream, -scale, scale, out, count);
      break;
    case Distribution::normal:
      fill_normal<T>(stream, 0.0, scale, out, count);
  }
}

template void initialize(const Initializer&, RandomStream, std::int64_t, std::int64_t, float*, std::int64_t);
template void initialize(const Initializer&, RandomStream, std::int64_t, std::int64_t, double*, std::int64_t);

}  // namespace nncore
