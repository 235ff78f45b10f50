// Losses and their gradients, compared with scalar loops and central differences on every instruction set.
#include "nncore/losses.hpp"

#include <algorithm>
#include <stdexcept>

#include "check.hpp"
#include "losses.hpp"
#include "numeric.hpp"

using namespace losses;
using nncore::Matrix;
using nncore::Reduction;

namespace {

/// Predictions and targets that the loss accepts; targets include zeros, ones and values in between.
template <class T>
struct Problem {
  Problem(const Loss& loss, std::int64_t rows_, std::int64_t columns_, unsigned seed = 1)
      : rows(rows_), columns(columns_), width(target_columns(loss, columns_)) {
    Random random(seed);
    const bool probabilities = takes_probabilities(loss);
    prediction = random.uniform<T>(rows * columns, probabilities ? 0.01 : -6, probabilities ? 0.99 : 6);
    target = random.uniform<T>(rows * width, 0, 1);
    for (std::size_t i = 0; i < target.size(); i += 3) target[i] = static_cast<T>(i % 2);
    weight = random.uniform<T>(rows, 0.5, 2);
  }

  std::vector<T> row(const std::vector<T>& matrix, std::int64_t r) const {
    const std::int64_t length = std::ssize(matrix) / rows;
    return {matrix.begin() + r * length, matrix.begin() + (r + 1) * length};
  }
  Matrix<const T> view(const std::vector<T>& matrix) const {
    return {matrix.data(), rows, std::ssize(matrix) / rows};
  }
  double run(const Loss& loss, Reduction reduction, T* values, T* gradient, double scale = 1,
             bool accumulate = false) const {
    return nncore::loss_and_gradient<T>(loss, view(prediction), {view(target)}, weight.data(), reduction,
                                        values, {gradient, rows, columns}, scale, accumulate);
  }

  std::int64_t rows, columns, width;  ///< width: columns of the target
  std::vector<T> prediction, target, weight;
};

template <class T>
void check_formulas(const Loss& loss, std::int64_t columns, Reduction reduction, bool accumulate) {
  constexpr std::int64_t rows = 3;
  constexpr double scale = 0.75;
  const long double eps = kEpsilon<T>;
  const Problem<T> problem(loss, rows, columns);
  const T before = T(0.625);
  Guarded<T> values(rows), gradient(rows * columns, before);
  const double got = problem.run(loss, reduction, values.data(), gradient.data(), scale, accumulate);
  long double divisor = 0, sum = 0, sum_tolerance = 0;
  for (const long double w : problem.weight) divisor += w;
  if (reduction != Reduction::mean) divisor = 1;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto expected =
        expected_row(loss, problem.row(problem.prediction, row), problem.row(problem.target, row));
    if (!expected) return;
    const Expected& e = *expected;
    const long double weight = problem.weight[static_cast<std::size_t>(row)];
    const long double factor = weight * static_cast<long double>(scale), share = factor / divisor;
    check_close(values[row], factor * e.value, factor * (e.value_tolerance + eps * std::fabs(e.value)),
                name(loss));
    sum += share * e.value;
    sum_tolerance += share * (e.value_tolerance + 10 * kEpsilon<double> * std::fabs(e.value));
    for (std::int64_t i = 0; i < columns; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const long double start = accumulate ? static_cast<long double>(before) : 0;
      const long double slope = share * e.gradient[at];
      const long double tolerance = share * e.gradient_tolerance[at] + 2 * eps * std::fabs(slope) +
                                    (accumulate ? eps * std::fabs(start + slope) : 0);
      check_close(gradient[row * columns + i], start + slope, tolerance, name(loss));
    }
  }
  check_close(got, sum, sum_tolerance, name(loss));
  CHECK(values.intact() && gradient.intact());
}

/// Whether a - y of an element is so close to a kink of the loss that a finite difference may cross it.
bool is_near_kink(const Loss& loss, std::int64_t column, double difference, double reach) {
  for (const auto& kink : entry_of(loss.kind).kinks) {
    if (!kink) continue;
    double at = 0;
    if (kink->parameter != nullptr) {
      const auto& numbers = loss.*kink->parameter;
      at = kink->factor *
           (numbers.each.empty() ? numbers.one : numbers.each[static_cast<std::size_t>(column)]);
    }
    if (std::fabs(difference - at) <= reach) return true;
  }
  return false;
}

/// Compares the gradient of the sum over a batch with central differences.
void check_central_differences(const Loss& loss, std::int64_t columns) {
  Problem<double> problem(loss, 2, columns);
  for (double& a : problem.prediction)
    if (takes_probabilities(loss)) a = 0.2 + 0.6 * a;
  std::vector<double> gradient(problem.prediction.size());
  problem.run(loss, Reduction::sum, nullptr, gradient.data());
  // The error of a difference grows fourfold when the step doubles. Weights are at most 2; terms are at most
  // the loss and 36 for each element, with 10 roundings.
  constexpr double h = 0x1p-17;
  std::vector<double> values(2);
  const long double most = std::fabs(problem.run(loss, Reduction::none, values.data(), nullptr));
  const long double size = 2 * (36 * static_cast<long double>(problem.prediction.size()) + most);
  const long double rounding = 10 * kEpsilon<double> * size / h;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const double at = problem.prediction[i];
    if (!entry_of(loss.kind).by_row &&
        is_near_kink(loss, static_cast<std::int64_t>(i) % columns, at - problem.target[i], 2 * h))
      continue;
    const auto slope = [&](double step) {
      problem.prediction[i] = at + step;
      const long double above = problem.run(loss, Reduction::sum, nullptr, nullptr);
      problem.prediction[i] = at - step;
      const long double below = problem.run(loss, Reduction::sum, nullptr, nullptr);
      problem.prediction[i] = at;
      return (above - below) / (2 * static_cast<long double>(step));
    };
    const long double near = slope(h), far = slope(2 * h);
    check_close(gradient[i], near, std::fabs(far - near) + rounding, name(loss));
  }
}

template <class T>
void check_labels_are_one_hot_rows(const Loss& loss, std::int64_t columns) {
  constexpr std::int64_t rows = 5;
  Problem<T> problem(loss, rows, columns);
  std::vector<std::int64_t> labels;
  std::fill(problem.target.begin(), problem.target.end(), T(0));
  for (std::int64_t row = 0; row < rows; ++row) {
    labels.push_back((row * 7 + columns - 1) % columns);
    problem.target[static_cast<std::size_t>(row * columns + labels.back())] = 1;
  }
  std::vector<T> by_values(problem.prediction.size()), by_label(by_values);
  const double value = problem.run(loss, Reduction::mean, nullptr, by_values.data());
  CHECK(value == nncore::loss_and_gradient<T>(loss, problem.view(problem.prediction), {{}, labels.data()},
                                              problem.weight.data(), Reduction::mean, nullptr,
                                              {by_label.data(), rows, columns}));
  CHECK(by_values == by_label);
}

/// The loss and gradient of one prediction in one column.
template <class T>
struct Single {
  Single(const Loss& loss, T prediction, T target) {
    value = nncore::loss_and_gradient<T>(loss, {&prediction, 1, 1}, {{&target, 1, 1}}, nullptr,
                                         Reduction::mean, nullptr, {&gradient, 1, 1});
  }
  double value;
  T gradient;
};

template <class T>
std::vector<double> all_results() {
  std::vector<double> results;
  for (const std::int64_t columns : {1, 10, 45, 46}) {
    for_each_loss(columns, [&](const Loss& loss) {
      Problem<T> problem(loss, 2500, columns);
      std::vector<T> values(2500);
      // The gradient replaces the prediction.
      results.push_back(problem.run(loss, Reduction::mean, values.data(), problem.prediction.data()));
      results.insert(results.end(), values.begin(), values.end());
      results.insert(results.end(), problem.prediction.begin(), problem.prediction.end());
    });
  }
  return results;
}

/// Rows with gaps are copied side by side, with a weight for each element; others are read in place. The bits
/// must be the same, at sizes of several rows per chunk and of several chunks per row.
template <class T>
void check_rows_with_gaps(const Loss& loss, std::int64_t columns) {
  constexpr std::int64_t rows = 70;
  const std::int64_t stride = columns + 3;
  const Problem<T> problem(loss, rows, columns);
  const T before = T(0.375);
  const std::vector<T> ones(rows, T(1));
  std::vector<T> apart(rows * stride, before), apart_target(apart), apart_gradient(apart);
  const std::int64_t width = problem.width;
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(problem.prediction.begin() + row * columns, columns, apart.begin() + row * stride);
    std::copy_n(problem.target.begin() + row * width, width, apart_target.begin() + row * stride);
  }
  for (const bool accumulate : {false, true}) {
    std::vector<T> gradient(problem.prediction.size(), before);
    std::fill(apart_gradient.begin(), apart_gradient.end(), before);
    const double value = nncore::loss_and_gradient<T>(
        loss, problem.view(problem.prediction), {problem.view(problem.target)}, nullptr, Reduction::mean,
        nullptr, {gradient.data(), rows, columns}, 1, accumulate);
    CHECK(value == nncore::loss_and_gradient<T>(
                       loss, {apart.data(), rows, columns, stride},
                       {{apart_target.data(), rows, width, stride}}, ones.data(), Reduction::mean, nullptr,
                       {apart_gradient.data(), rows, columns, stride}, 1, accumulate));
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto at = apart_gradient.begin() + row * stride;
      CHECK(std::equal(at, at + columns, gradient.begin() + row * columns));
      CHECK(std::all_of(at + columns, at + stride, [=](T guard) { return guard == before; }));
    }
  }
}

template <class T>
void check_extremes() {
  const T inf = kInfinity<T>, huge = std::numeric_limits<T>::max();
  // What the target rules out adds nothing, and a certain, correct prediction costs nothing.
  for (const LossKind loss : {LossKind::cross_entropy, LossKind::binary_cross_entropy}) {
    CHECK(Single<T>(loss, 1, 1).value == 0 && Single<T>(loss, 1, 1).gradient == -1);
    CHECK(Single<T>(loss, 0, 0).value == 0 && std::isfinite(Single<T>(loss, 0, 0).gradient));
    CHECK(static_cast<T>(Single<T>(loss, 0, 1).value) == inf && Single<T>(loss, 0, 1).gradient == -inf);
  }
  CHECK(Single<T>(LossKind::cross_entropy, 0, 0).gradient == 0);
  CHECK(Single<T>(LossKind::binary_cross_entropy, 0, 0).gradient == 1);
  CHECK(static_cast<T>(Single<T>(LossKind::binary_cross_entropy, 1, 0).value) == inf);
  // log(1 - a) keeps the accuracy of a small a.
  const T small = std::numeric_limits<T>::epsilon() / 8;
  check_close(Single<T>(LossKind::binary_cross_entropy, small, 0).value, small, 4 * kEpsilon<T> * small,
              "small a");

  const LossKind sigmoid = LossKind::sigmoid_cross_entropy;
  CHECK(Single<T>(sigmoid, huge, 1).value == 0 && Single<T>(sigmoid, -huge, 0).value == 0);
  CHECK(Single<T>(sigmoid, inf, 1).value == 0 && Single<T>(sigmoid, -inf, 0).value == 0);
  CHECK(Single<T>(sigmoid, huge, 0).value == static_cast<double>(huge) &&
        Single<T>(sigmoid, huge, 0).gradient == 1);
  CHECK(Single<T>(sigmoid, -huge, 1).value == static_cast<double>(huge) &&
        Single<T>(sigmoid, -huge, 1).gradient == -1);

  const auto softmax = [](std::vector<T> logits, std::int64_t label, std::vector<T> expected_gradient) {
    const auto columns = static_cast<std::int64_t>(logits.size());
    const double value = nncore::loss_and_gradient<T>(LossKind::softmax_cross_entropy,
                                                      {logits.data(), 1, columns}, {{}, &label}, nullptr,
                                                      Reduction::mean, nullptr, {logits.data(), 1, columns});
    CHECK(logits == expected_gradient);
    return value;
  };
  CHECK(softmax({huge, -huge}, 0, {0, 0}) == 0);
  CHECK(softmax({huge / 2, -huge / 2}, 1, {1, -1}) == static_cast<double>(huge));
  CHECK(softmax({3, -inf, -huge}, 0, {0, 0, 0}) == 0);
}

template <class T>
void check_nan_everywhere(std::int64_t columns) {
  for_each_loss(columns, [&](const Loss& loss) {
    for (std::int64_t at = 0; at < columns; ++at) {
      Problem<T> problem(loss, 1, columns);
      problem.prediction[static_cast<std::size_t>(at)] = kNan<T>;
      std::vector<T> gradient(problem.prediction.size());
      CHECK(std::isnan(problem.run(loss, Reduction::sum, nullptr, gradient.data())));
      CHECK(std::isnan(gradient[static_cast<std::size_t>(at)]));
    }
  });
}

}  // namespace

TEST(values_and_gradients_follow_the_formulas) {
  on_every_set([] {
    for (const std::int64_t columns : kSizes) {
      for_each_loss(columns, [&](const Loss& loss) {
        for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
          for (const bool accumulate : {false, true}) {
            check_formulas<float>(loss, columns, reduction, accumulate);
            check_formulas<double>(loss, columns, reduction, accumulate);
          }
        }
      });
    }
  });
}

TEST(rows_longer_than_a_chunk_follow_the_formulas) {
  on_every_set([] {
    for_each_loss(2100, [](const Loss& loss) {
      check_formulas<float>(loss, 2100, Reduction::mean, false);
      check_formulas<double>(loss, 2100, Reduction::none, true);
      if (entry_of(loss.kind).takes_labels) check_labels_are_one_hot_rows<float>(loss, 2100);
    });
  });
}

TEST(gradients_agree_with_central_differences) {
  on_every_set([] {
    for (const std::int64_t columns : {1, 2, 3, 10, 17})
      for_each_loss(columns, [=](const Loss& loss) { check_central_differences(loss, columns); });
  });
}

TEST(labels_are_one_hot_rows) {
  on_every_set([] {
    for (const std::int64_t columns : kSizes) {
      for_each_loss(columns, [=](const Loss& loss) {
        if (!entry_of(loss.kind).takes_labels) return;
        check_labels_are_one_hot_rows<float>(loss, columns);
        check_labels_are_one_hot_rows<double>(loss, columns);
      });
    }
  });
}

TEST(every_set_and_thread_count_gives_the_same_bits) {
  check_same_bits(all_results<float>);
  check_same_bits(all_results<double>);
}

TEST(rows_with_gaps_give_the_same_bits) {
  on_every_set([] {
    for (const std::int64_t columns : {1, 10, 45, 1500}) {
      for_each_loss(columns, [=](const Loss& loss) {
        check_rows_with_gaps<float>(loss, columns);
        check_rows_with_gaps<double>(loss, columns);
      });
    }
  });
}

TEST(gradient_may_replace_the_prediction) {
  for_each_loss(42, [](const Loss& loss) {
    Problem<double> problem(loss, 4, 42);
    std::vector<double> gradient(problem.prediction.size());
    problem.run(loss, Reduction::mean, nullptr, gradient.data());
    problem.run(loss, Reduction::mean, nullptr, problem.prediction.data());
    CHECK(problem.prediction == gradient);
  });
}

TEST(extremes_give_the_limit) {
  on_every_set([] {
    check_extremes<float>();
    check_extremes<double>();
  });
}

TEST(nan_gives_nan) {
  on_every_set([] {
    for (const std::int64_t columns : {1, 2, 5, 16, 33}) {
      check_nan_everywhere<float>(columns);
      check_nan_everywhere<double>(columns);
    }
  });
}

TEST(a_mean_without_weights_counts_samples) {
  const Problem<double> problem(LossKind::half_squared_error, 4, 3);
  const std::vector<double> ones(4, 1.0);
  const auto run = [&](const double* weight) {
    return nncore::loss_and_gradient<double>(LossKind::half_squared_error, problem.view(problem.prediction),
                                             {problem.view(problem.target)}, weight, Reduction::mean, nullptr,
                                             {});
  };
  CHECK(run(nullptr) == run(ones.data()));
}

TEST(no_rows_is_no_error) {
  double untouched = 3;
  for_each_loss(4, [&](const Loss& loss) {
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
      CHECK(nncore::loss_and_gradient<double>(loss, {nullptr, 0, 4}, {{nullptr, 0, target_columns(loss, 4)}},
                                              nullptr, reduction, &untouched, {&untouched, 0, 4}) == 0);
    }
  });
  CHECK(untouched == 3);
}

TEST(bad_input_is_named_and_changes_nothing) {
  const Problem<float> problem(LossKind::softmax_cross_entropy, 3, 4);
  std::vector<float> values(3, 9.0f), gradient(12, 9.0f);
  const std::vector<float> zeros(3, 0.0f);
  const std::int64_t too_large[] = {0, 4, 1}, negative[] = {0, 1, -1};
  const auto run = [&](const Loss& loss, nncore::Target<float> target, const float* weight,
                       Matrix<float> grad) {
    return nncore::loss_and_gradient<float>(loss, problem.view(problem.prediction), target, weight,
                                            Reduction::mean, values.data(), grad);
  };
  const nncore::Target<float> target{problem.view(problem.target)};
  const Matrix<float> grad(gradient.data(), 3, 4);
  const LossKind loss = LossKind::softmax_cross_entropy;
  CHECK_THROWS(run(loss, {{}, too_large}, nullptr, grad), std::invalid_argument,
               "target must hold labels from 0 to 3 for a prediction of shape (3, 4); got label 4 in row 1");
  CHECK_THROWS(run(loss, {{}, negative}, nullptr, grad), std::invalid_argument, "label -1 in row 2");
  CHECK_THROWS(run(LossKind::half_squared_error, {{}, negative}, nullptr, grad), std::invalid_argument,
               "target must be values of shape (3, 4) for half_squared_error; got class labels");
  CHECK_THROWS(run(loss, {{problem.target.data(), 4, 3}}, nullptr, grad), std::invalid_argument,
               "target must have shape (3, 4), the shape of prediction; got (4, 3)");
  CHECK_THROWS(run(loss, {}, nullptr, grad), std::invalid_argument,
               "target must have shape (3, 4), the shape of prediction; got (0, 0)");
  CHECK_THROWS(run(loss, target, nullptr, {gradient.data(), 3, 3}), std::invalid_argument,
               "gradient must have shape (3, 4), the shape of prediction; got (3, 3)");
  CHECK_THROWS(run(loss, target, nullptr, {gradient.data(), 3, 4, 1, 3}), std::invalid_argument,
               "gradient must have contiguous rows; got columns 3 elements apart");
  CHECK_THROWS(run(LossKind::gaussian_nll, target, nullptr, grad), std::invalid_argument,
               "target must have shape (3, 2), the shape of a target for this prediction; got (3, 4)");
  CHECK_THROWS(nncore::loss_and_gradient<float>(LossKind::gaussian_nll, {gradient.data(), 4, 3}, target,
                                                nullptr, Reduction::mean, nullptr, {}),
               std::invalid_argument, "prediction must have an even number of columns");
  Loss huber = LossKind::huber;
  huber.delta.each = {1, 2, 3};
  CHECK_THROWS(run(huber, target, nullptr, grad), std::invalid_argument,
               "delta must be one number, or 4 numbers, one for each column of the target; got 3 numbers");
  huber.delta.each.push_back(-4);
  CHECK_THROWS(run(huber, target, nullptr, grad), std::invalid_argument,
               "delta must be a finite number greater than 0; got -4");
  huber.delta = {0, {}};
  CHECK_THROWS(run(huber, target, nullptr, grad), std::invalid_argument,
               "delta must be a finite number greater than 0; got 0");
  CHECK(values == std::vector<float>(3, 9.0f) && gradient == std::vector<float>(12, 9.0f));
  CHECK(run(loss, target, zeros.data(), grad) == 0.0);  // all weights are 0: so are the mean and its gradient
  CHECK(gradient == std::vector<float>(12, 0.0f));
}

TEST(entries_are_found_by_name_and_alias) {
  for (const LossEntry& entry : kLosses) {
    CHECK(find_entry(kLosses, entry.name) == &entry);
    CHECK(entry.alias == nullptr || find_entry(kLosses, entry.alias) == &entry);
  }
  CHECK(find_entry(kLosses, "mae") == &entry_of(LossKind::mean_absolute_error));
  CHECK(find_entry(kLosses, "") == nullptr);
}

TEST(losses_are_equal_by_kind_and_parameters) {
  Loss other = LossKind::huber;
  CHECK(other == Loss(LossKind::huber) && !(other == Loss(LossKind::mean_absolute_error)));
  other.delta.one = 2;
  CHECK(!(other == Loss(LossKind::huber)));
}

template <class T>
void check_kinks() {
  CHECK(Single<T>(LossKind::mean_absolute_error, 2, 2).gradient == 0);
  CHECK(Single<T>(LossKind::mean_absolute_error, 2, 5).value == 3);
  CHECK(Single<T>(LossKind::huber, 2, 2).value == 0 && Single<T>(LossKind::huber, 2, 2).gradient == 0);
  CHECK(Single<T>(LossKind::huber, 1, 2).value == 0.5 && Single<T>(LossKind::huber, 1, 2).gradient == -1);
  CHECK(Single<T>(LossKind::huber, 5, 2).value == 2.5 && Single<T>(LossKind::huber, 5, 2).gradient == 1);
  const T inf = kInfinity<T>;
  CHECK(Single<T>(LossKind::huber, -inf, 2).value == static_cast<double>(inf));
  CHECK(Single<T>(LossKind::huber, -inf, 2).gradient == -1);
}

TEST(kinks_have_the_derivative_that_the_formulas_say) {
  on_every_set([] {
    check_kinks<float>();
    check_kinks<double>();
  });
}

TEST(targets_out_of_range_are_named) {
  const float values[] = {0.5f, 1.0f, kNan<float>, 1.5f};
  const auto check = [&](LossKind kind, std::int64_t first) {
    check_target_values(kind, "y", nncore::table(values, 4, 1), nullptr, first, 1);
  };
  check(LossKind::binary_cross_entropy, 0);
  check(LossKind::binary_cross_entropy, 1);
  check(LossKind::half_squared_error, 3);
  CHECK_THROWS(check(LossKind::half_squared_error, 2), std::invalid_argument,
               "y must be a number; got nan in row 2, column 0");
  CHECK_THROWS(check(LossKind::binary_cross_entropy, 2), std::invalid_argument,
               "y must be a number in [0, 1]; got nan in row 2");
  CHECK_THROWS(check(LossKind::sigmoid_cross_entropy, 3), std::invalid_argument, "got 1.5 in row 3");
}
