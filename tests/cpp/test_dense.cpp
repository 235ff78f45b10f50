// Dense layers, to the bit: each entry of a product is made of the chains of fmas that chains.hpp defines, on
// every instruction set, for every layout, number of rows and number of threads.
#include "nncore/dense.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cmath>

#include "check.hpp"
#include "kernels/chains.hpp"
#include "nncore/runtime.hpp"
#include "numeric.hpp"

using nncore::Matrix;
using numeric::on_every_set;
using numeric::Random;

namespace {

/// The rule, spelled out: the sum over k of a(k) b(k), from `start`, in chains.
template <class T, class A, class B>
T chained(std::int64_t depth, T start, A a, B b) {
  T total = start;
  for (std::int64_t first = 0; first < depth; first += chain_length(depth)) {
    const std::int64_t last = std::min(depth, first + chain_length(depth));
    T chain = first == 0 ? start : T{0};
    for (std::int64_t k = first; k < last; ++k) chain = std::fma(a(k), b(k), chain);
    total = first == 0 ? chain : total + chain;
  }
  return total;
}

/// (rows, columns) numbers, stored by rows or by columns, with `gap` unused elements between the lines.
template <class T>
struct Stored {
  std::vector<T> data;
  Matrix<T> view;

  Stored(std::int64_t rows, std::int64_t columns, bool by_rows, std::int64_t gap, unsigned seed) {
    const std::int64_t line = (by_rows ? columns : rows) + gap;
    Random random(seed);
    data = random.uniform<T>(line * (by_rows ? rows : columns), -1, 1);
    view = {data.data(), rows, columns, by_rows ? line : 1, by_rows ? 1 : line};
  }
};

/// Compares bits, so that the sign of a zero counts.
template <class T>
bool same_bits(T a, T b) {
  return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
}

/// Sets a share of the elements to zero, every other one of them to -0.
template <class T>
void thin_out(Stored<T>& stored, double share, unsigned seed) {
  const std::vector<T> chances = Random(seed).uniform<T>(static_cast<std::int64_t>(stored.data.size()), 0, 1);
  for (std::size_t i = 0; i < chances.size(); ++i)
    if (static_cast<double>(chances[i]) < share) stored.data[i] = i % 2 == 0 ? T{0} : -T{0};
}

/// x_zeros and grad_zeros are the shares of zeros in x and grad_z.
template <class T>
void check_layer(std::int64_t rows, std::int64_t in, std::int64_t out, bool by_rows, std::int64_t gap,
                 double x_zeros = 0, double grad_zeros = 0) {
  Stored<T> x(rows, in, true, gap, 1), grad_z(rows, out, true, gap, 3);
  const Stored<T> weight(out, in, by_rows, gap, 2);
  thin_out(x, x_zeros, 8);
  thin_out(grad_z, grad_zeros, 9);
  const Stored<T> bias(1, out, true, 0, 4);
  Stored<T> z(rows, out, true, gap, 5), grad_x(rows, in, true, gap, 6), grad_weight(out, in, by_rows, gap, 7);
  Stored<T> sum_x = grad_x, sum_weight = grad_weight;
  sum_x.view.data = sum_x.data.data();
  sum_weight.view.data = sum_weight.data.data();
  std::vector<T> grad_bias(static_cast<std::size_t>(out), T{7});

  nncore::dense_forward<T>(x.view, weight.view, bias.data.data(), z.view);
  nncore::dense_backward<T>(grad_z.view, x.view, weight.view, grad_x.view, grad_weight.view,
                            grad_bias.data());
  nncore::dense_backward<T>(grad_z.view, x.view, weight.view, sum_x.view, sum_weight.view, nullptr, true);

  const Stored<T> old_x(rows, in, true, gap, 6), old_weight(out, in, by_rows, gap, 7);
  bool same = true;
  for (std::int64_t b = 0; b < rows; ++b) {
    for (std::int64_t o = 0; o < out; ++o) {
      same = same && same_bits(z.view(b, o), chained<T>(
                                                 in, bias.data[static_cast<std::size_t>(o)],
                                                 [&](auto i) { return x.view(b, i); },
                                                 [&](auto i) { return weight.view(o, i); }));
    }
    for (std::int64_t i = 0; i < in; ++i) {
      const auto delta = [&](auto o) { return grad_z.view(b, o); };
      const auto column = [&](auto o) { return weight.view(o, i); };
      const T sum = chained<T>(out, T{0}, delta, column);
      same = same && same_bits(grad_x.view(b, i), sum);
      if (chain_count(out) == 1) same = same && same_bits(sum_x.view(b, i), old_x.view(b, i) + sum);
    }
  }
  CHECK(same);
  for (std::int64_t o = 0; o < out; ++o) {
    const auto delta = [&](auto b) { return grad_z.view(b, o); };
    same = same &&
           grad_bias[static_cast<std::size_t>(o)] == chained<T>(rows, T{0}, delta, [](auto) { return T{1}; });
    for (std::int64_t i = 0; i < in; ++i) {
      const auto input = [&](auto b) { return x.view(b, i); };
      const T sum = chained<T>(rows, T{0}, delta, input);
      same = same && same_bits(grad_weight.view(o, i), sum);
      if (chain_count(rows) == 1)
        same = same && same_bits(sum_weight.view(o, i), old_weight.view(o, i) + sum);
    }
  }
  CHECK(same);
}

struct Shape {
  std::int64_t rows, in, out;
};

}  // namespace

TEST(every_entry_is_its_chains) {
  constexpr Shape shapes[] = {{1, 1, 1},     {1, 7, 5},    {2, 64, 64},  {3, 16, 130}, {5, 33, 17},
                              {7, 100, 63},  {13, 9, 31},  {31, 65, 48}, {33, 70, 70}, {64, 12, 129},
                              {250, 20, 24}, {485, 3, 70}, {64, 70, 100}};
  on_every_set([&] {
    for (const Shape& shape : shapes) {
      for (const bool by_rows : {true, false}) {
        check_layer<float>(shape.rows, shape.in, shape.out, by_rows, 0);
        check_layer<double>(shape.rows, shape.in, shape.out, by_rows, 3);
      }
    }
  });
}

TEST(long_sums_are_several_chains) {
  constexpr Shape shapes[] = {{1, 1023, 3},    {2, 1024, 100}, {3, 1025, 65}, {40, 2100, 5},
                              {40, 1100, 135}, {1030, 2, 3},   {2, 3, 2050},  {1, 900, 200}};
  on_every_set([&] {
    for (const Shape& shape : shapes) {
      for (const bool by_rows : {true, false}) {
        check_layer<float>(shape.rows, shape.in, shape.out, by_rows, 0);
        check_layer<double>(shape.rows, shape.in, shape.out, by_rows, 0);
      }
    }
  });
}

// Samples are lanes. Samples of 600 inputs lie far apart and are packed first.
TEST(narrow_results_are_their_chains) {
  on_every_set([] {
    for (std::int64_t narrow = 1; narrow <= 13; ++narrow) {
      check_layer<float>(67, 130 + narrow, narrow, narrow % 2 == 0, narrow % 3);
      check_layer<float>(34, 600 + narrow, narrow, narrow % 2 == 1, 0);
      check_layer<float>(96, narrow, 90, narrow % 2 == 0, 0);
      check_layer<double>(35, 60 + narrow, narrow, narrow % 2 == 1, narrow % 3);
      check_layer<double>(17, 300 + narrow, narrow, narrow % 2 == 0, 0);
    }
    check_layer<float>(40, 1500, 5, false, 0);
    check_layer<float>(70, 1024, 6, false, 0);
    check_layer<float>(33, 1020, 7, true, 4);
    check_layer<double>(20, 512, 3, false, 0);
    check_layer<float>(40, 2048, 5, false, 0);
    check_layer<double>(40, 1500, 5, true, 3);
  });
}

// More than 4 MB per chain, and depths that are not whole strips.
TEST(weights_from_memory_are_walked_in_strips_or_packed) {
  const int threads = nncore::num_threads();
  nncore::set_num_threads(1);  // so that one thread has all columns
  on_every_set([] {
    check_layer<float>(3, 2100, 1100, false, 0);
    check_layer<double>(8, 521, 1050, false, 0);
    check_layer<double>(9, 521, 1050, false, 0);
    check_layer<double>(1, 1021, 600, false, 3);
  });
  nncore::set_num_threads(threads);
}

TEST(a_chain_that_skips_zeros_is_the_same_chain) {
  constexpr Shape shapes[] = {{32, 48, 48},   {40, 70, 100},  {70, 130, 49}, {97, 64, 64},
                              {300, 65, 150}, {64, 300, 129}, {33, 48, 257}, {130, 500, 48}};
  struct Zeros {
    double x, grad;
  };
  constexpr Zeros all_zeros[] = {{0.5, 0}, {0, 0.5}, {0.9, 0.6}, {1, 1}};
  on_every_set([&] {
    for (const Shape& shape : shapes) {
      for (const Zeros zeros : all_zeros) {
        check_layer<float>(shape.rows, shape.in, shape.out, false, 0, zeros.x, zeros.grad);
        check_layer<double>(shape.rows, shape.in, shape.out, true, 3, zeros.x, zeros.grad);
      }
    }
    check_layer<float>(34, 1100, 50, false, 0, 0.8, 0);  // several chains in each of the three products
    check_layer<float>(34, 50, 1100, false, 0, 0, 0.8);
    check_layer<float>(1100, 50, 49, false, 0, 0.8, 0.8);
  });
  for (const int threads : {2, 3, 5}) {
    nncore::set_num_threads(threads);
    check_layer<float>(300, 170, 250, false, 0, 0.5, 0.5);
    check_layer<double>(90, 600, 300, false, 0, 0, 0.5);
  }
  nncore::set_num_threads(1);
}

// Skipping a zero could change the sign of a sum that is zero, and hide 0 times infinity.
TEST(skipped_zeros_keep_signs_and_nan) {
  constexpr std::int64_t rows = 50, in = 80, out = 70;
  constexpr float tiny = 1e-30F;
  on_every_set([] {
    for (const float odd :
         {numeric::kInfinity<float>, -numeric::kInfinity<float>, numeric::kNan<float>, 1.0F}) {
      Stored<float> x(rows, in, true, 0, 1), weight(out, in, false, 0, 2), z(rows, out, true, 0, 3);
      thin_out(x, 0.5, 4);
      weight.view(65, 70) = odd;
      // -tiny^2 rounds to -0; later steps add 0 x weight, which is +0 if the weight is positive.
      for (const std::int64_t row : {3, 4, 44}) {
        for (std::int64_t i = 0; i < in; ++i) x.view(row, i) = 0;
        x.view(row, 9) = tiny;
        for (std::int64_t o = 0; o < out; ++o) weight.view(o, 9) = -tiny;
      }
      for (std::int64_t i = 10; i < in; ++i) weight.view(1, i) = -1;  // stays -0
      nncore::dense_forward<float>(x.view, weight.view, nullptr, z.view, nncore::ActivationKind::identity);
      bool same = true;
      for (std::int64_t b = 0; b < rows; ++b) {
        for (std::int64_t o = 0; o < out; ++o) {
          same = same && same_bits(z.view(b, o), chained<float>(
                                                     in, 0.0F, [&](auto i) { return x.view(b, i); },
                                                     [&](auto i) { return weight.view(o, i); }));
        }
      }
      CHECK(same);
      CHECK(std::signbit(z.view(3, 1)) && !std::signbit(z.view(3, 2)));
    }
  });
}

TEST(threads_share_the_work_and_not_the_sums) {
  for (const int threads : {2, 3, 5}) {
    nncore::set_num_threads(threads);
    check_layer<float>(300, 70, 150, false, 0);
    check_layer<float>(1, 600, 900, false, 0);
    check_layer<double>(500, 40, 60, true, 0);
  }
  nncore::set_num_threads(1);
}

TEST(a_fused_activation_is_the_activation_afterwards) {
  on_every_set([] {
    for (const double zeros : {0.0, 0.5}) {
      Stored<float> x(110, 40, true, 0, 1);
      thin_out(x, zeros, 6);
      const Stored<float> weight(70, 40, false, 0, 2), bias(1, 70, true, 0, 3);
      for (const nncore::ActivationEntry& entry : nncore::kActivations) {
        const nncore::Activation activation = entry.kind;
        Stored<float> fused(110, 70, true, 0, 4), apart(110, 70, true, 0, 5);
        nncore::dense_forward<float>(x.view, weight.view, bias.data.data(), fused.view, activation);
        nncore::dense_forward<float>(x.view, weight.view, bias.data.data(), apart.view);
        nncore::activation_forward<float>(activation, apart.view, apart.view);
        CHECK(fused.data == apart.data);
      }
    }
  });
}

#if defined(__x86_64__)
TEST(the_mode_of_the_caller_changes_nothing) {
  constexpr unsigned kFlush = 0x8040;
  Stored<float> x(300, 40, true, 0, 1), weight(70, 40, false, 0, 2), grad_output(300, 70, true, 0, 3);
  for (Stored<float>* small : {&x, &weight, &grad_output})
    for (float& value : small->data) value *= 1e-20F;  // products are subnormal
  const auto compute = [&] {
    Stored<float> output(300, 70, true, 0, 4), grad_weight(70, 40, false, 0, 5);
    nncore::dense_forward<float>(x.view, weight.view, nullptr, output.view);
    nncore::dense_backward<float>(grad_output.view, x.view, weight.view, {}, grad_weight.view, nullptr);
    output.data.insert(output.data.end(), grad_weight.data.begin(), grad_weight.data.end());
    return output.data;
  };
  const std::vector<float> expected = compute();
  CHECK(std::fpclassify(expected.front()) == FP_SUBNORMAL);
  CHECK(std::fpclassify(expected.back()) == FP_SUBNORMAL);
  for (const int threads : {1, 2}) {
    nncore::set_num_threads(threads);
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | kFlush);
    const std::vector<float> found = compute();
    _mm_setcsr(before);
    CHECK(found == expected);
  }
  nncore::set_num_threads(1);
}
#endif

TEST(shapes_that_do_not_fit_are_named) {
  std::vector<float> data(100);
  const auto matrix = [&](std::int64_t rows, std::int64_t columns) {
    return Matrix<float>(data.data(), rows, columns);
  };
  const auto forward = [&](Matrix<float> x, Matrix<float> weight, Matrix<float> z) {
    nncore::dense_forward<float>(x, weight, nullptr, z);
  };
  CHECK_THROWS(forward(matrix(2, 3), matrix(4, 5), matrix(2, 4)), std::invalid_argument,
               "weight must have shape (O, I) = (4, 3); got (4, 5)");
  CHECK_THROWS(forward(matrix(2, 3), matrix(4, 3), matrix(2, 5)), std::invalid_argument,
               "output must have shape (B, O) = (2, 4); got (2, 5)");
  const Matrix<float> sparse(data.data(), 2, 3, 7, 2);
  CHECK_THROWS(forward(sparse, matrix(4, 3), matrix(2, 4)), std::invalid_argument,
               "x must have a row or column stride of 1; got 7 and 2");
}
