// What a network rejects: arguments that do not fit, sizes that no integer holds, objectives of other graphs,
// and indices that change while they are read.
#include <cmath>
#include <limits>
#include <thread>

#include "check.hpp"
#include "nncore/network.hpp"
#include "nncore/operation.hpp"
#include "nncore/runtime.hpp"
#include "nodes.hpp"

using namespace nncore;

namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

/// Two inputs, of 4 features and of 2 integers below 5; two outputs, of 3 and 7 features.
template <class T>
struct Problem {
  Problem()
      : parameters(std::make_shared<Parameters<T>>(
            std::vector<Segment>{weight_segment("w", 3, 4),
                                 {.name = "table", .shape = {5, 2}, .layout = SegmentLayout::by_rows}})),
        network(std::make_shared<Graph>(
                    std::vector<Node>{
                        input_node("x", 4), input_node("i", 2, true), dense_node("d", 0, 0, -1, 4, 3),
                        make_node("embedding", "e", {1}, {1}, {},
                                  {{"num_embeddings", std::int64_t{5}}, {"embedding_dim", std::int64_t{2}}}),
                        concatenate_node("c", {3, 2})},
                    std::vector<int>{2, 4}),
                parameters) {
    parameters->initialize(1);
  }

  std::vector<Table> inputs() const { return {table(x.data(), 2, 4), table(words.data(), 2, 2)}; }
  std::vector<Matrix<T>> outputs() { return {{out.data(), 2, 3}, {out.data() + 6, 2, 7}}; }
  std::vector<Matrix<const T>> gradients() const { return {{x.data(), 2, 3}, {ones.data(), 2, 7}}; }

  std::vector<T> x = std::vector<T>(8, T(0.5)), out = std::vector<T>(20), ones = std::vector<T>(14, T(1));
  std::vector<std::int64_t> words{0, 4, 2, 1};
  std::shared_ptr<Parameters<T>> parameters;
  Network<T> network;
  Workspace<T> workspace;
};

template <class T>
void check_inputs() {
  Problem<T> p;
  const std::vector<Matrix<T>> outputs = p.outputs();
  const auto refuses = [&](const std::vector<Table>& inputs, std::int64_t count, const char* text) {
    p.out.assign(p.out.size(), T(-1));
    const std::vector<T> before = p.out;
    CHECK_THROWS(p.network.predict(inputs, count, outputs, p.workspace), std::invalid_argument, text);
    CHECK_THROWS(p.network.forward(inputs, count, true, p.workspace), std::invalid_argument, text);
    CHECK(p.out == before);
  };
  const std::vector<Table> right = p.inputs();
  std::vector<Table> wrong = right;
  refuses({}, 2, "x must hold 2 arrays, one for each input of the graph; got 0");
  refuses({right[0]}, 2, "for each input of the graph; got 1");
  refuses({right[0], right[1], right[1]}, 2, "for each input of the graph; got 3");
  refuses({Table{}, right[1]}, 2, "x[0] must have shape (B, 4) for input 'x'; got (0, 0)");
  wrong[0].columns = 3;
  refuses(wrong, 2, "x[0] must have shape (B, 4) for input 'x'; got (2, 3)");
  wrong[0] = right[0];
  wrong[0].rows = 1;
  refuses(wrong, 2, "x[0] must contain the 2 rows from row 0 on; got 1 rows");
  wrong[0] = right[0];
  wrong[0].data = nullptr;
  refuses(wrong, 2, "x[0] must have data");
  for (const std::int64_t count : {std::int64_t{3}, std::int64_t{-1}, kHuge, -kHuge - 1})
    refuses(right, count, "rows from row 0 on; got 2 rows");
  p.words[3] = 5;
  refuses(right, 2, "x[1] must be in [0, 5) for input 'i'; got 5 in row 1, column 1");
  p.words[3] = 1;
  wrong[0] = right[0];
  wrong[1] = table(p.x.data(), 2, 2);
  refuses(wrong, 2, "x[1] must be of an integer dtype");
  p.network.predict(right, 2, outputs, p.workspace);
  p.network.predict(right, 0, std::vector<Matrix<T>>{{nullptr, 0, 3}, {nullptr, 0, 7}}, p.workspace);
}

template <class T>
void check_outputs() {
  Problem<T> p;
  const auto refuses = [&](const std::vector<Matrix<T>>& outputs, const char* text) {
    const std::vector<T> before = p.out;
    CHECK_THROWS(p.network.predict(p.inputs(), 2, outputs, p.workspace), std::invalid_argument, text);
    CHECK(p.out == before);
  };
  const std::vector<Matrix<T>> right = p.outputs();
  refuses({}, "outputs must hold 2 matrices, one for each output of the graph; got 0");
  refuses({right[0]}, "got 1");
  refuses({right[1], right[0]}, "outputs[0] must be a matrix of shape (2, 3)");
  refuses({right[0], right[1].row_range(0, 1)}, "outputs[1] must be a matrix of shape (2, 7)");
  refuses({{nullptr, 2, 3}, right[1]}, "and no data");
  refuses({{p.out.data(), 2, 3, 1, 2}, right[1]}, "with contiguous rows");
  refuses({{p.out.data(), 2, 3, 2}, right[1]}, "strides (2, 1)");  // overlapping rows
  p.network.predict(p.inputs(), 2, right, p.workspace);
}

template <class T>
void check_backward() {
  Problem<T> p;
  CHECK_THROWS(p.network.output(0, p.workspace), std::invalid_argument, "workspace must hold");
  const std::vector<Matrix<const T>> right = p.gradients();
  CHECK_THROWS(p.network.backward(right, {}, false, p.workspace), std::logic_error, "forward");
  p.network.forward(p.inputs(), 2, true, p.workspace);
  const auto refuses = [&](const std::vector<Matrix<const T>>& gradients,
                           const std::vector<Matrix<T>>& grad_inputs, const char* text) {
    const std::vector<T> before(p.parameters->gradients(), p.parameters->gradients() + 22);
    CHECK_THROWS(p.network.backward(gradients, grad_inputs, false, p.workspace), std::invalid_argument, text);
    CHECK(std::equal(before.begin(), before.end(), p.parameters->gradients()));
  };
  refuses({}, {}, "grad_outputs must hold 2 matrices, one for each output of the graph; got 0");
  refuses({right[0], right[1], right[1]}, {}, "got 3");
  refuses({right[0], right[1].row_range(0, 1)}, {}, "grad_outputs[1] must be a matrix of shape (2, 7)");
  refuses({{p.x.data(), 2, 4}, right[1]}, {}, "grad_outputs[0] must be a matrix of shape (2, 3)");
  refuses({{nullptr, 2, 3}, right[1]}, {}, "no data");
  const Matrix<T> grad_x(p.out.data(), 2, 4);
  refuses(right, {grad_x},
          "grad_inputs must be empty or hold 2 matrices, one for each input of the graph; got 1");
  refuses(right, {{p.out.data(), 1, 4}, {}}, "grad_inputs[0] must be a matrix of shape (2, 4)");
  refuses(right, {grad_x, {p.out.data() + 8, 2, 2}}, "grad_inputs[1] must have no data, because input 'i'");
  for (const int index : {-1, 2, std::numeric_limits<int>::max()})
    CHECK_THROWS(p.network.output(index, p.workspace), std::invalid_argument, "index must be in [0, 2)");
  CHECK(p.network.output(1, p.workspace).columns == 7);
  const std::vector<Matrix<T>> grad_inputs = {grad_x, {}};
  p.network.backward(right, grad_inputs, false, p.workspace);
}

}  // namespace

TEST(inputs_are_those_of_the_graph) {
  check_inputs<float>();
  check_inputs<double>();
}

TEST(outputs_are_those_of_the_graph) {
  check_outputs<float>();
  check_outputs<double>();
}

TEST(gradients_are_those_of_the_last_forward) {
  check_backward<float>();
  check_backward<double>();
}

TEST(an_objective_is_one_of_the_networks_graph) {
  Problem<double> one, other;
  const std::vector<LossTerm> terms{{LossKind::half_squared_error, 0, 1.0}};
  const auto objective = other.network.plan(terms);
  const std::vector<Table> inputs = one.inputs(), targets = {table(one.x.data(), 2, 3)};
  const Batch batch{inputs, targets, {}, nullptr, 0, 2};
  OptimizerState<double> state(OptimizerKind::adam, one.parameters->count());
  const auto refuses = [](auto call) {
    CHECK_THROWS(call(), std::invalid_argument, "objective must be planned for this network's graph");
  };
  refuses([&] { one.network.check_batch(*objective, batch); });
  refuses([&] { one.network.loss(*objective, batch, one.workspace); });
  refuses([&] { one.network.loss_and_gradients(*objective, batch, true, false, one.workspace); });
  refuses([&] { one.network.train_step(*objective, batch, OptimizerKind::adam, state, one.workspace); });
  refuses([&] { one.network.train_epoch(*objective, batch, 1, OptimizerKind::adam, state, one.workspace); });
  one.network.loss(*one.network.plan(terms), batch, one.workspace);
}

TEST(sizes_that_no_number_holds) {
  const auto graph = [](std::vector<Node> nodes) {
    const int last = static_cast<int>(nodes.size()) - 1;
    return Graph(std::move(nodes), {last});
  };
  for (const std::int64_t features : {kMostFeatures + 1, std::int64_t{1} << 61, kHuge})
    CHECK_THROWS(graph({input_node("x", features)}), std::invalid_argument, "at most 1099511627776 features");
  for (const std::int64_t features : {std::int64_t{0}, std::int64_t{-1}, -kHuge - 1})
    CHECK_THROWS(graph({input_node("x", features)}), std::invalid_argument, "at least 1 feature");
  const std::int64_t half = kMostFeatures / 2;
  CHECK_THROWS(
      graph({input_node("x", half), concatenate_node("c", {0, 0, 0})}), std::invalid_argument,
      "node 'c' must have at most 549755813888 features, because all nodes together may have at most "
      "1099511627776; got ");
  CHECK_THROWS(graph({input_node("x", half), activation_node("a", 0, ActivationKind::tanh),
                      activation_node("b", 1, ActivationKind::tanh)}),
               std::invalid_argument, "node 'b'");
  const auto embedding = [](std::int64_t width) {
    return make_node("embedding", "e", {0}, {0}, {},
                     {{"num_embeddings", std::int64_t{2}}, {"embedding_dim", width}});
  };
  CHECK_THROWS(graph({input_node("x", half, true), embedding(half)}), std::invalid_argument, "at most");
  CHECK_THROWS(embedding(kHuge), std::invalid_argument, "embedding_dim must be at most");

  const auto parameters =
      std::make_shared<Parameters<float>>(std::vector<Segment>{weight_segment("w", 1, 1)});
  const Network<float> wide(std::make_shared<Graph>(graph({input_node("x", half)})), parameters);
  const float zero = 0;
  Workspace<float> workspace;
  const Table input{&zero, ScalarType::float32, kHuge, half, 0, 0};
  for (const std::int64_t rows : {std::int64_t{1} << 20, std::int64_t{1} << 40, kHuge})
    CHECK_THROWS(wide.forward({&input, 1}, rows, false, workspace), std::length_error,
                 "a batch must have at most 8192 rows");

  for (const std::int64_t count : {std::int64_t{-1}, std::int64_t{1} << 61, kHuge})
    CHECK_THROWS(OptimizerState<double>(OptimizerKind::adam, count), std::invalid_argument,
                 "parameter_count");
}

TEST(steps_and_batches_count_no_further_than_numbers_go) {
  const auto parameters =
      std::make_shared<Parameters<float>>(std::vector<Segment>{weight_segment("w", 1, 1)});
  const Network<float> network(
      std::make_shared<Graph>(std::vector<Node>{input_node("x", 1), dense_node("d", 0, 0, -1, 1, 1)},
                              std::vector<int>{1}),
      parameters);
  const std::vector<float> x{1, 2, 3};
  const Table input = table(x.data(), 3, 1);
  const Batch batch{{&input, 1}, {&input, 1}, {}, nullptr, 0, 3};
  const auto objective = network.plan(std::vector<LossTerm>{{LossKind::half_squared_error, 0, 1.0}});
  OptimizerState<float> state(OptimizerKind::adam, 1);
  Workspace<float> workspace;
  for (const std::int64_t steps : {std::int64_t{1} << 53, kHuge, std::int64_t{-1}, -kHuge - 1}) {
    state.steps = steps;
    CHECK_THROWS(network.train_step(*objective, batch, OptimizerKind::adam, state, workspace),
                 std::invalid_argument, "steps must be at least 0 and less than 2^53");
    CHECK_THROWS(network.update(OptimizerKind::adam, state), std::invalid_argument, "steps must be");
    CHECK(state.steps == steps && parameters->values()[0] == 0.0f);
  }
  state.steps = 0;
  for (const std::int64_t size : {std::int64_t{3}, kHuge - 1, kHuge})
    CHECK(network.train_epoch(*objective, batch, size, OptimizerKind::adam, state, workspace).steps == 1);
  Batch beyond = batch;
  for (const auto& [first, count] : {std::pair{kHuge, std::int64_t{3}}, {std::int64_t{1}, kHuge}}) {
    beyond.first = first;
    beyond.count = count;
    CHECK_THROWS(network.check_batch(*objective, beyond), std::invalid_argument, "on; got 3 rows");
  }
}

namespace {

/// Overwrites all indices before they are used, as another thread might after they were checked.
class Spoiling final : public OperationOf<Spoiling> {
 public:
  explicit Spoiling(std::vector<std::int64_t>* indices) : indices_(indices) {}
  const char* kind() const override { return "spoiling"; }
  std::int64_t out_features(std::span<const std::int64_t> features) const override { return features[0]; }
  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    indices_->assign(indices_->size(), std::int64_t{1} << 40);
    std::copy_n(call.inputs[0].data, call.output.rows * call.output.columns, call.output.data);
  }
  template <class T>
  void compute_backward(const NodeCall<T>&) const {}

 private:
  std::vector<std::int64_t>* indices_;
};

}  // namespace

TEST(labels_are_looked_at_again_when_they_are_read) {
  std::vector<std::int64_t> labels{0, 1};
  const auto parameters =
      std::make_shared<Parameters<float>>(std::vector<Segment>{weight_segment("w", 1, 1)});
  const std::vector<Node> nodes{input_node("x", 2), {"s", std::make_shared<Spoiling>(&labels), {0}}};
  const Network<float> network(std::make_shared<Graph>(nodes, std::vector<int>{1}), parameters);
  const std::vector<float> x{1, 2, 3, 4};
  const Table input = table(x.data(), 2, 2), target = table(labels.data(), 2, 1);
  const Batch batch{{&input, 1}, {&target, 1}, {}, nullptr, 0, 2};
  const auto objective = network.plan(std::vector<LossTerm>{{LossKind::softmax_cross_entropy, 0, 1.0}});
  Workspace<float> workspace;
  network.check_batch(*objective, batch);
  CHECK_THROWS(network.loss(*objective, batch, workspace), std::invalid_argument,
               "y must not change while a call reads it");
}

TEST(integer_inputs_are_looked_at_again_when_they_are_read) {
  Problem<float> p;
  const std::vector<Table> inputs = p.inputs(), targets = {table(p.x.data(), 2, 7)};
  const auto objective = p.network.plan(std::vector<LossTerm>{{LossKind::half_squared_error, 1, 1.0}});
  const std::vector<float> y(14);
  const std::vector<Table> target{table(y.data(), 2, 7)};
  const Batch batch{inputs, target, {}, nullptr, 0, 2};
  p.network.check_batch(*objective, batch);
  for (const std::int64_t word : {std::int64_t{5}, std::int64_t{-1}, kHuge}) {
    p.words[2] = word;
    CHECK_THROWS(p.network.loss(*objective, batch, p.workspace), std::invalid_argument,
                 "x[1] must not change while a call reads it");
  }
}
