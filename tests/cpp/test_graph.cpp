// Graphs: what is rejected before there are numbers, and what a plan fuses.
#include "check.hpp"
#include "graph/plan.hpp"
#include "nncore/graph.hpp"
#include "nodes.hpp"

using namespace nncore;

namespace {

Graph graph_of(std::vector<Node> nodes, std::vector<int> outputs) {
  return {std::move(nodes), std::move(outputs)};
}

}  // namespace

TEST(refuses_what_is_not_a_network) {
  const Node x = input_node("x", 3);
  CHECK_THROWS(graph_of({}, {}), std::invalid_argument, "nodes must not be empty");
  CHECK_THROWS(graph_of({x}, {}), std::invalid_argument, "outputs must not be empty");
  CHECK_THROWS(graph_of({x}, {1}), std::invalid_argument, "outputs must be nodes in [0, 1); got 1");
  CHECK_THROWS(graph_of({input_node("x", 0)}, {0}), std::invalid_argument, "at least 1 feature; got 0");
  CHECK_THROWS(graph_of({x, activation_node("a", 1, ActivationKind::tanh)}, {1}), std::invalid_argument,
               "cycle");
  CHECK_THROWS(graph_of({x, activation_node("a", 2, ActivationKind::tanh),
                         activation_node("b", 1, ActivationKind::tanh)},
                        {2}),
               std::invalid_argument, "node 'a' must read earlier nodes only; got 'b'");
  CHECK_THROWS(graph_of({x, activation_node("a", 7, ActivationKind::tanh)}, {1}), std::invalid_argument,
               "must read nodes in [0, 2); got 7");
  CHECK_THROWS(graph_of({x, input_node("y", 3), activation_node("a", 0, ActivationKind::tanh)}, {2}),
               std::invalid_argument, "'y' is an unused input");
  CHECK_THROWS(graph_of({x, activation_node("a", 0, ActivationKind::tanh),
                         activation_node("b", 0, ActivationKind::tanh)},
                        {1}),
               std::invalid_argument, "'b' is unused");
  CHECK_THROWS(graph_of({x, activation_node("x", 0, ActivationKind::tanh)}, {1}), std::invalid_argument,
               "names of nodes must differ; got 'x' twice");
  CHECK_THROWS(graph_of({x, dense_node("d", 0, 0, 1, 4, 2)}, {1}), std::invalid_argument,
               "must read 4 features; got 3");
  CHECK_THROWS(graph_of({x, input_node("y", 2), add_node("s", {0, 1})}, {2}), std::invalid_argument,
               "3 and 2");
  CHECK_THROWS(graph_of({x, multiply_node("m", {0})}, {1}), std::invalid_argument, "inputs must be 2");
  CHECK_THROWS(graph_of({x, subtract_node("d", {0, 0, 0})}, {1}), std::invalid_argument, "inputs must be 2");
  CHECK_THROWS(graph_of({input_node("k", 1, true), activation_node("a", 0, ActivationKind::tanh)}, {1}),
               std::invalid_argument, "integer input 'k'");
  CHECK_THROWS(graph_of({input_node("k", 1, true)}, {0}), std::invalid_argument, "cannot be an output");
  CHECK_THROWS(graph_of({x, add_node("s", {})}, {1}), std::invalid_argument,
               "number of inputs must be at least 1; got 0");
}

TEST(derives_widths) {
  const Graph graph = graph_of({input_node("x", 3), dense_node("d", 0, 0, 1, 3, 5),
                                concatenate_node("c", {0, 1}), multiply_node("m", {2, 2})},
                               {3});
  CHECK(graph.node(1).features == 5);
  CHECK(graph.node(2).features == 8);
  CHECK(graph.node(3).features == 8);
  CHECK(graph.readers(2).size() == 2);
}

TEST(plans_fuse_only_what_nobody_else_reads) {
  const Graph line = graph_of({input_node("x", 3), dense_node("d", 0, 0, 1, 3, 3),
                               activation_node("a", 1, ActivationKind::tanh), dense_node("e", 2, 2, 3, 3, 3)},
                              {3});
  const Plan plan = make_plan(line, line.outputs());
  CHECK(plan.steps.size() == 2);
  CHECK(plan.steps[0].fused == ActivationKind::tanh && plan.steps[0].value == 2);
  CHECK(plan.steps[0].derivative_done);  // only e reads a: its product multiplies by tanh'
  CHECK(plan.edge_derivative[plan.steps[1].first_edge] == 0);  // the step of d

  const Graph fork = graph_of({input_node("x", 3), dense_node("d", 0, 0, 1, 3, 3),
                               activation_node("a", 1, ActivationKind::tanh), add_node("s", {1, 2})},
                              {3});
  CHECK(make_plan(fork, fork.outputs()).steps.size() == 3);  // d's own value is needed too

  const Graph softmax = graph_of(
      {input_node("x", 3), dense_node("d", 0, 0, 1, 3, 3), activation_node("a", 1, ActivationKind::softmax)},
      {2});
  CHECK(make_plan(softmax, softmax.outputs()).steps.size() == 2);  // not elementwise
  const int logits[] = {1};
  CHECK(make_plan(softmax, logits).steps.size() == 1);  // the softmax is not needed for the loss
}

TEST(plans_note_where_gradients_meet) {
  const Graph graph = graph_of({input_node("x", 2), dense_node("d", 0, 0, 1, 2, 2),
                                dense_node("e", 1, 0, 1, 2, 2), add_node("s", {1, 2})},
                               {3});
  const Plan plan = make_plan(graph, graph.outputs());
  CHECK(plan.accumulate_edge[plan.steps[2].first_edge] == 0);  // s writes d's gradient first
  CHECK(plan.accumulate_edge[plan.steps[1].first_edge] == 1);  // then e adds
  CHECK(plan.accumulate_segment[plan.steps[1].first_segment_use] == 0);
  CHECK(plan.accumulate_segment[plan.steps[0].first_segment_use] == 1);  // the second use of the weight adds
  CHECK(plan.reaches_parameters[0] == 0 && plan.reaches_inputs[0] == 1);
}
