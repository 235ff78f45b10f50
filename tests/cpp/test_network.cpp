// The executor: gradients of whole graphs, operations defined outside the library, memory.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>

#include "check.hpp"
#include "nncore/network.hpp"
#include "nncore/not_finite.hpp"
#include "nncore/operation.hpp"
#include "nncore/runtime.hpp"
#include "nodes.hpp"
#include "numeric.hpp"

using namespace nncore;
using numeric::numbers;

namespace {

/// Rows of an embedding table: an integer input, a segment, and a scattered gradient.
class LookupOperation final : public OperationOf<LookupOperation> {
 public:
  explicit LookupOperation(int table, std::int64_t width) : segments_{table}, width_(width) {}
  const char* kind() const override { return "lookup"; }
  bool reads_integers() const override { return true; }
  std::span<const int> segments() const override { return segments_; }
  std::int64_t out_features(std::span<const std::int64_t>) const override { return width_; }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    const Matrix<T> table = call.parameters->value(segments_[0]);
    for (std::int64_t row = 0; row < call.output.rows; ++row) {
      for (std::int64_t i = 0; i < width_; ++i) call.output(row, i) = table(call.integers[0][row], i);
    }
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    const Matrix<T> gradient = call.parameters->gradient(segments_[0]);
    if (call.accumulate_segment[0] == 0) std::fill_n(gradient.data, gradient.rows * gradient.columns, T{0});
    for (std::int64_t row = 0; row < call.output.rows; ++row) {
      for (std::int64_t i = 0; i < width_; ++i)
        gradient(call.integers[0][row], i) += call.grad_output(row, i);
    }
  }

 private:
  int segments_[1];
  std::int64_t width_;
};

int threads_seen = 0;  ///< in the last forward of a CentreOperation

/// Subtracts a running mean that training updates: non-trained state and the training flag.
class CentreOperation final : public OperationOf<CentreOperation> {
 public:
  explicit CentreOperation(int mean) : state_{mean} {}
  const char* kind() const override { return "centre"; }
  std::span<const int> state_segments() const override { return state_; }
  std::int64_t out_features(std::span<const std::int64_t> widths) const override { return widths[0]; }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    threads_seen = usable_threads();
    T* mean = call.parameters->state() + call.parameters->state_offset(state_[0]);
    for (std::int64_t i = 0; i < call.output.columns; ++i) {
      T sum{0};
      for (std::int64_t row = 0; row < call.output.rows; ++row) sum += call.inputs[0](row, i);
      if (call.training) mean[i] += T(0.5) * (sum / static_cast<T>(call.output.rows) - mean[i]);
      for (std::int64_t row = 0; row < call.output.rows; ++row)
        call.output(row, i) = call.inputs[0](row, i) - mean[i];
    }
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    if (call.grad_inputs[0].data == nullptr) return;
    for (std::int64_t row = 0; row < call.output.rows; ++row) {
      for (std::int64_t i = 0; i < call.output.columns; ++i) {
        T& to = call.grad_inputs[0](row, i);
        to = (call.accumulate_input[0] != 0 ? to : T{0}) + call.grad_output(row, i);
      }
    }
  }

 private:
  int state_[1];
};

Node lookup_node(std::string name, int input, int table, std::int64_t width) {
  return {std::move(name), std::make_shared<LookupOperation>(table, width), {input}};
}

Node centre_node(std::string name, int input, int mean) {
  return {std::move(name), std::make_shared<CentreOperation>(mean), {input}};
}

struct Problem {
  std::shared_ptr<Parameters<double>> parameters;
  Network<double> network;
  std::vector<Table> inputs, targets;
  std::int64_t count;

  double loss(const Objective& objective, Workspace<double>& workspace) const {
    return network.loss(objective, batch(), workspace);
  }
  Batch batch() const { return {inputs, targets, {}, nullptr, 0, count}; }
};

/// Checks ||g - g_fd|| <= 1e-7 ||g_fd|| for every segment, by central differences.
void check_gradients(const Problem& problem, std::span<const LossTerm> terms) {
  const auto objective = problem.network.plan(terms);
  Workspace<double> workspace;
  problem.network.check_batch(*objective, problem.batch());
  problem.network.loss_and_gradients(*objective, problem.batch(), true, false, workspace);
  Parameters<double>& parameters = *problem.parameters;
  for (int s = 0; s < static_cast<int>(parameters.segments().size()); ++s) {
    double error = 0.0, norm = 0.0;
    for (std::int64_t i = 0; i < parameters.segments()[static_cast<std::size_t>(s)].size(); ++i) {
      double& value = parameters.values()[parameters.offset(s) + i];
      const double kept = value, h = 1e-5;
      value = kept + h;
      const double above = problem.loss(*objective, workspace);
      value = kept - h;
      const double below = problem.loss(*objective, workspace);
      value = kept;
      const double difference = (above - below) / (2 * h);
      error += std::pow(parameters.gradients()[parameters.offset(s) + i] - difference, 2);
      norm += difference * difference;
    }
    CHECK(norm > 0.0);
    CHECK(std::sqrt(error) <= 1e-7 * std::sqrt(norm));
  }
}

std::int64_t allocations = 0;
bool is_out_of_memory = false;

}  // namespace

// Counts the library's allocations, in every form that its containers and buffers use. Not inlined: the
// compiler would see malloc meet delete and warn.
#define NOT_INLINED __attribute__((noinline))
NOT_INLINED void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = is_out_of_memory ? nullptr : std::malloc(size)) return memory;
  throw std::bad_alloc();
}
NOT_INLINED void* operator new(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  const auto step = static_cast<std::size_t>(alignment);
  if (void* memory = is_out_of_memory ? nullptr : std::aligned_alloc(step, (size + step - 1) / step * step))
    return memory;
  throw std::bad_alloc();
}
NOT_INLINED void operator delete(void* memory) noexcept { std::free(memory); }
NOT_INLINED void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
NOT_INLINED void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
NOT_INLINED void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

TEST(gradients_of_a_graph_with_everything) {
  // x -> tanh(d) = h; the same layer again; the transposed weight; a product, a sum and a concatenation.
  std::vector<Segment> segments{weight_segment("d.weight", 4, 4), bias_segment("d.bias", 4, constant(0.1)),
                                weight_segment("e.weight", 3, 8), bias_segment("e.bias", 3),
                                bias_segment("t.bias", 4)};
  auto parameters = std::make_shared<Parameters<double>>(segments);
  parameters->initialize(1);
  std::vector<Node> nodes{input_node("x", 4),
                          dense_node("d1", 0, 0, 1, 4, 4),
                          activation_node("h", 1, ActivationKind::tanh),
                          dense_node("d2", 2, 0, 1, 4, 4),
                          dense_node("t", 2, 0, 4, 4, 4, true),
                          activation_node("s", 4, ActivationKind::sigmoid),
                          multiply_node("m", {3, 5}),
                          add_node("a", {6, 2, 2}),
                          concatenate_node("c", {7, 5}),
                          dense_node("e", 8, 2, 3, 8, 3),
                          activation_node("p", 9, ActivationKind::softmax)};
  Problem problem{
      parameters, {std::make_shared<Graph>(nodes, std::vector<int>{10, 7}), parameters}, {}, {}, 5};
  const std::vector<double> x = numbers<double>(20, 2), y = numbers<double>(20, 3);
  const std::vector<std::int32_t> labels{0, 2, 1, 1, 0};
  problem.inputs = {table(x.data(), 5, 4)};
  problem.targets = {table(labels.data(), 5, 1), table(y.data(), 5, 4)};
  const LossTerm terms[] = {{LossKind::cross_entropy, 0, 1.5}, {LossKind::mean_squared_error, 1, 0.5}};
  check_gradients(problem, terms);
}

TEST(operations_from_outside_have_segments_state_and_integers) {
  std::vector<Segment> segments{weight_segment("table", 6, 3), weight_segment("d.weight", 1, 5),
                                bias_segment("d.bias", 1)};
  std::vector<Segment> state{bias_segment("mean", 5)};
  auto parameters = std::make_shared<Parameters<double>>(segments, state);
  parameters->initialize(4);
  std::vector<Node> nodes{input_node("word", 1, true), input_node("x", 2),
                          lookup_node("l", 0, 0, 3),   concatenate_node("c", {2, 1}),
                          centre_node("n", 3, 0),      dense_node("d", 4, 1, 2, 5, 1)};
  Problem problem{parameters, {std::make_shared<Graph>(nodes, std::vector<int>{5}), parameters}, {}, {}, 4};
  const std::vector<std::uint8_t> words{0, 5, 5, 3};
  const std::vector<double> x = numbers<double>(8, 5), y = numbers<double>(4, 6);
  problem.inputs = {table(words.data(), 4, 1), table(x.data(), 4, 2)};
  problem.targets = {table(y.data(), 4, 1)};
  const LossTerm terms[] = {{LossKind::half_squared_error, 0, 1.0}};
  const auto objective = problem.network.plan(terms);
  Workspace<double> workspace;

  // Words 1, 2 and 4 do not occur, so the table's gradient has rows of zeros. The loss does not move the
  // mean.
  problem.network.loss(*objective, problem.batch(), workspace);
  for (int i = 0; i < 5; ++i) CHECK(parameters->state()[i] == 0.0);
  problem.network.loss_and_gradients(*objective, problem.batch(), true, false, workspace);
  const Matrix<double> gradient = parameters->gradient(0);
  for (int i = 0; i < 3; ++i) CHECK(gradient(1, i) == 0.0 && gradient(2, i) == 0.0 && gradient(4, i) == 0.0);
  for (int i = 0; i < 3; ++i) CHECK(gradient(5, i) != 0.0);
  const double mean =
      std::accumulate(x.begin(), x.end(), 0.0,
                      [i = 0](double sum, double v) mutable { return sum + (i++ % 2 == 0 ? v : 0.0); }) /
      4.0;
  CHECK(std::abs(parameters->state()[3] - 0.5 * mean) < 1e-15);

  // A frozen segment keeps its bits, and so does one with multiplier 0. The optimizer does not touch the
  // state.
  parameters->set_trainable(0, false);
  parameters->set_learning_rate_multiplier(1, 0.0);
  const std::vector<double> before(parameters->values(), parameters->values() + parameters->count());
  OptimizerState<double> optimizer_state(OptimizerKind::adam, parameters->count());
  problem.network.train_step(*objective, problem.batch(), OptimizerKind::adam, optimizer_state, workspace);
  for (std::int64_t i = 0; i < parameters->count(); ++i) {
    CHECK((parameters->values()[i] == before[static_cast<std::size_t>(i)]) == (i < parameters->offset(2)));
  }
}

TEST(no_allocation_once_a_batch_of_that_size_was_seen) {
  auto parameters = std::make_shared<Parameters<float>>(
      std::vector<Segment>{weight_segment("a.weight", 128, 784), bias_segment("a.bias", 128),
                           weight_segment("b.weight", 10, 128), bias_segment("b.bias", 10)});
  parameters->initialize(7);
  std::vector<Node> nodes{input_node("x", 784), dense_node("a", 0, 0, 1, 784, 128),
                          activation_node("r", 1, ActivationKind::relu), dense_node("b", 2, 2, 3, 128, 10),
                          activation_node("p", 3, ActivationKind::softmax)};
  const Network<float> network(std::make_shared<Graph>(nodes, std::vector<int>{4}), parameters);
  const std::vector<double> x = numbers<double>(64 * 784, 8);  // float64: gathered and converted
  const std::vector<std::int16_t> labels(64, 3);
  std::vector<float> out(64 * 10);
  const Table input = table(x.data(), 64, 784), target = table(labels.data(), 64, 1);
  const LossTerm terms[] = {{LossKind::cross_entropy, 0, 1.0}};
  const auto objective = network.plan(terms);
  OptimizerState<float> state(OptimizerKind::adam, parameters->count());
  Workspace<float> training, predicting;
  std::vector<std::int64_t> seen;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    for (int round = 0; round < 2; ++round) {
      for (const std::int64_t rows : {64, 7, 64, 1, 0}) {
        const std::int64_t before = allocations;
        const Batch batch{{&input, 1}, {&target, 1}, {}, nullptr, 0, rows};
        const Matrix<float> outputs[] = {{out.data(), rows, 10}};
        network.train_step(*objective, batch, OptimizerKind::adam, state, training);
        network.predict({&input, 1}, rows, outputs, predicting);
        seen.push_back(allocations - before);
      }
    }
    for (std::size_t i = 1; i < seen.size(); ++i) CHECK(seen[i] == 0);  // only the first batch allocates
    CHECK(seen[0] > 0);
    seen.clear();
  }
  set_num_threads(1);
  CHECK(state.steps == 3 * 2 * 4);  // a batch without rows is not a step
}

/// Compares predictions of single samples with those of pairs, which skip no zeros. Predicts three times:
/// when it is not known whether the parameters are finite, when that is checked, and when it is known.
template <class T>
void check_single_predictions(std::int64_t in_features, std::int64_t out_features, double zeros) {
  auto parameters = std::make_shared<Parameters<T>>(
      std::vector<Segment>{weight_segment("w", out_features, in_features), bias_segment("b", out_features)});
  parameters->initialize(1);
  const std::vector<T> bias = numbers<T>(out_features, 2);
  for (std::int64_t i = 0; i < out_features; ++i)  // a chain of -0 and zeros gives 0 by tiles
    parameters->value(1).data[i] = i % 3 == 0 ? T{-0.0} : bias[static_cast<std::size_t>(i)];
  const Network<T> network(
      std::make_shared<const Graph>(std::vector<Node>{input_node("x", in_features),
                                                      dense_node("d", 0, 0, 1, in_features, out_features)},
                                    std::vector<int>{1}),
      parameters);

  constexpr std::int64_t kSamples = 6;  // the last one is zero
  std::vector<T> x = numbers<T>(kSamples * in_features, 3);
  const std::vector<double> draw = numbers<double>(std::ssize(x), 4);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (draw[i] < 2 * zeros - 1 || i >= x.size() - static_cast<std::size_t>(in_features)) x[i] = 0;
  const auto predict = [&](std::int64_t rows) {
    std::vector<T> y(static_cast<std::size_t>(kSamples * out_features));
    Workspace<T> workspace;
    for (std::int64_t first = 0; first < kSamples; first += rows) {
      const Table input = table(x.data() + first * in_features, rows, in_features);
      const Matrix<T> output(y.data() + first * out_features, rows, out_features);
      network.predict({&input, 1}, rows, {&output, 1}, workspace);
    }
    return y;
  };
  const auto same = [](const std::vector<T>& a, const std::vector<T>& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  };
  const std::vector<T> expected = predict(2);
  for (int round = 0; round < 3; ++round) CHECK(same(predict(1), expected));
  CHECK(parameters->known_finite());

  // Zero times infinity is NaN.
  parameters->values()[parameters->count() - out_features - 1] = std::numeric_limits<T>::infinity();
  for (int round = 0; round < 3; ++round) CHECK(std::isnan(predict(1).back()));
}

TEST(one_sample_skips_zeros_and_the_bits_are_the_same) {
  const int threads = num_threads();
  for (const int count : {1, 2}) {
    set_num_threads(count);
    for (const double zeros : {0.2, 0.5, 0.9, 1.0}) {
      check_single_predictions<float>(70, 150, zeros);
      check_single_predictions<float>(40, 301, zeros);
      check_single_predictions<float>(257, 129, zeros);
      check_single_predictions<float>(1030, 40, zeros);
      check_single_predictions<float>(520, 1100, zeros);
      check_single_predictions<double>(133, 65, zeros);
      check_single_predictions<double>(1500, 300, zeros);
    }
  }
  set_num_threads(threads);
}

TEST(training_keeps_to_its_callers_limit_of_threads) {
  auto parameters = std::make_shared<Parameters<float>>(std::vector<Segment>{weight_segment("w", 2, 2)},
                                                        std::vector<Segment>{bias_segment("mean", 2)});
  std::vector<Node> nodes{input_node("x", 2), centre_node("n", 0, 0), dense_node("d", 1, 0, -1, 2, 2)};
  const Network<float> network(std::make_shared<Graph>(nodes, std::vector<int>{2}), parameters);
  const std::vector<float> x = numbers<float>(8, 5);
  const Table input = table(x.data(), 4, 2);
  const Batch batch{{&input, 1}, {&input, 1}, {}, nullptr, 0, 4};
  const LossTerm terms[] = {{LossKind::half_squared_error, 0, 1.0}};
  const auto objective = network.plan(terms);
  OptimizerState<float> state(OptimizerKind::adam, parameters->count());
  Workspace<float> workspace;
  set_num_threads(3);
  network.train_step(*objective, batch, OptimizerKind::adam, state, workspace);
  CHECK(threads_seen == 3);
  {
    const ThreadLimit two(2);
    network.train_step(*objective, batch, OptimizerKind::adam, state, workspace);
    CHECK(threads_seen == 2);
  }
  set_num_threads(1);
}

TEST(a_call_that_ran_out_of_memory_can_be_made_again) {
  auto parameters = std::make_shared<Parameters<float>>(std::vector<Segment>{weight_segment("w", 30, 20)});
  parameters->initialize(9);
  std::vector<Node> nodes{input_node("x", 20), dense_node("d", 0, 0, -1, 20, 30)};
  const Network<float> network(std::make_shared<Graph>(nodes, std::vector<int>{1}), parameters);
  const std::vector<float> x = numbers<float>(200 * 20, 10);
  const Table input = table(x.data(), 200, 20);
  Workspace<float> workspace;
  network.forward({&input, 1}, 3, true, workspace);
  is_out_of_memory = true;
  for (int i = 0; i < 2; ++i)
    CHECK_THROWS(network.forward({&input, 1}, 200, true, workspace), std::bad_alloc, "bad_alloc");
  is_out_of_memory = false;
  std::vector<float> expected(200 * 30);
  Workspace<float> other;
  const Matrix<float> outputs[] = {{expected.data(), 200, 30}};
  network.predict({&input, 1}, 200, outputs, other);
  network.forward({&input, 1}, 200, true, workspace);
  CHECK(std::equal(expected.begin(), expected.end(), network.output(0, workspace).data));
}

TEST(an_input_or_a_loss_that_is_not_finite_changes_nothing) {
  auto parameters = std::make_shared<Parameters<float>>(std::vector<Segment>{weight_segment("w", 2, 2)});
  parameters->initialize(9);
  std::vector<Node> nodes{input_node("x", 2), dense_node("d", 0, 0, -1, 2, 2)};
  const Network<float> network(std::make_shared<Graph>(nodes, std::vector<int>{1}), parameters);
  std::vector<float> x{1, 2, NAN, 4}, y{0, 0, 0, 0};
  const Table input = table(x.data(), 2, 2), target = table(y.data(), 2, 2);
  const LossTerm terms[] = {{LossKind::half_squared_error, 0, 1.0}};
  const auto objective = network.plan(terms);
  OptimizerState<float> state(OptimizerKind::adam, parameters->count());
  Workspace<float> workspace;
  const std::vector<float> before(parameters->values(), parameters->values() + 4);
  const Batch batch{{&input, 1}, {&target, 1}, {}, nullptr, 0, 2};
  const char* const where = "x must be finite; got nan in row 1, column 0";
  CHECK_THROWS(network.train_step(*objective, batch, OptimizerKind::adam, state, workspace), NotFinite,
               where);
  CHECK_THROWS(network.loss(*objective, batch, workspace), NotFinite, where);
  CHECK_THROWS(network.check_inputs(batch), NotFinite, where);
  CHECK(state.steps == 0);
  CHECK(std::equal(before.begin(), before.end(), parameters->values()));
  CHECK_THROWS(network.train_epoch(*objective, batch, 1, OptimizerKind::adam, state, workspace), NotFinite,
               where);
  CHECK(state.steps == 1);
  x[2] = 3;
  y[3] = INFINITY;
  CHECK_THROWS(network.train_step(*objective, batch, OptimizerKind::adam, state, workspace), NotFinite,
               "the loss is inf in step 2; that step was not made");
  CHECK_THROWS(network.train_epoch(*objective, batch, 0, OptimizerKind::adam, state, workspace),
               std::invalid_argument, "batch_size must be at least 1; got 0");
}

TEST(losses_that_do_not_fit_name_the_right_choice) {
  auto parameters = std::make_shared<Parameters<float>>(std::vector<Segment>{weight_segment("w", 2, 2)});
  const auto network = [&](ActivationKind activation) {
    std::vector<Node> nodes{input_node("x", 2), dense_node("d", 0, 0, -1, 2, 2),
                            activation_node("a", 1, activation)};
    return Network<float>(std::make_shared<Graph>(nodes, std::vector<int>{2}), parameters);
  };
  const auto plan = [&](ActivationKind activation, LossKind loss) {
    const LossTerm terms[] = {{loss, 0, 1.0}};
    network(activation).plan(terms);
  };
  CHECK_THROWS(plan(ActivationKind::softmax, LossKind::softmax_cross_entropy), std::invalid_argument,
               "loss must be 'cross_entropy' for output 'a'");
  CHECK_THROWS(plan(ActivationKind::sigmoid, LossKind::sigmoid_cross_entropy), std::invalid_argument,
               "loss must be 'binary_cross_entropy' for output 'a', which ends in 'sigmoid'");
  CHECK_THROWS(plan(ActivationKind::relu, LossKind::cross_entropy), std::invalid_argument,
               "'softmax_cross_entropy' on logits");
  CHECK_THROWS(plan(ActivationKind::sigmoid, LossKind::cross_entropy), std::invalid_argument,
               "loss must be 'binary_cross_entropy' for output 'a', which ends in 'sigmoid'");
  CHECK_THROWS(plan(ActivationKind::softmax, LossKind::binary_cross_entropy), std::invalid_argument,
               "got 'binary_cross_entropy', which takes the probabilities that 'sigmoid' computes");
  CHECK_THROWS(network(ActivationKind::tanh).plan({}), std::invalid_argument,
               "terms must hold at least one loss");
  plan(ActivationKind::softmax, LossKind::cross_entropy);
  plan(ActivationKind::sigmoid, LossKind::binary_cross_entropy);
  plan(ActivationKind::tanh, LossKind::softmax_cross_entropy);
}
