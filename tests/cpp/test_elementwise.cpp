// The elementwise kernels, compared with scalar loops on every instruction set.
#include <cmath>
#include <vector>

#include "check.hpp"
#include "kernels/table.hpp"
#include "numeric.hpp"

using namespace numeric;

namespace {

template <class T>
void check_elementwise(std::int64_t count) {
  const auto& kernels = nncore::kernels::active<T>();
  Random random(4);
  const std::vector<T> a = random.uniform<T>(count, 0.01, 9), b = random.uniform<T>(count, -9, 9);
  Guarded<T> sum(count), product(count), fused(a), exps(count), logs(count);
  kernels.add(a.data(), b.data(), sum.data(), count);
  kernels.multiply(a.data(), b.data(), product.data(), count);
  kernels.multiply_add(a.data(), b.data(), fused.data(), count);
  kernels.exp(b.data(), exps.data(), count);
  kernels.log(a.data(), logs.data(), count);
  for (std::int64_t i = 0; i < count; ++i) {
    const T x = a[static_cast<std::size_t>(i)], y = b[static_cast<std::size_t>(i)];
    const volatile T xy = x * y;  // rounded separately
    CHECK(sum[i] == x + y && product[i] == xy && fused[i] == x + xy);
    const long double e = std::exp(static_cast<long double>(y)), l = std::log(static_cast<long double>(x));
    check_close(exps[i], e, 2 * kEpsilon<T> * e, "exp");
    check_close(logs[i], l, 2 * kEpsilon<T> * std::fabs(l), "log");
  }
  CHECK(sum.intact() && product.intact() && fused.intact() && exps.intact() && logs.intact());
}

}  // namespace

TEST(elementwise_kernels_round_each_operation) {
  on_every_set([] {
    for (const std::int64_t count : kSizes) {
      check_elementwise<float>(count);
      check_elementwise<double>(count);
    }
  });
}
