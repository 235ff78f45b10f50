#include "network_call.hpp"

#include <string>
#include <utility>

#include "calls.hpp"
#include "functions/join.hpp"

namespace nncore::bindings {
namespace {

/// The name of one array of a sequence in messages: the sequence's own name if there is only one.
Argument element(const char* name, std::size_t size, std::size_t index) {
  return {name, size == 1 ? -1 : static_cast<py::ssize_t>(index)};
}

void check_count(const char* name, std::size_t given, std::size_t needed) {
  if (given != needed)
    throw py::value_error(
        join(name, " must hold ", needed, needed == 1 ? " array" : " arrays", "; got ", given));
}

std::int64_t output_features(const Graph& graph, std::size_t index) {
  return graph.node(graph.outputs()[index]).features;
}

py::tuple tuple_of(py::handle given, const char* name, const char* wanted) {
  if (PySequence_Check(given.ptr()) == 0)
    throw py::type_error(join(name, " must be ", wanted, "; got ", Py_TYPE(given.ptr())->tp_name));
  return py::tuple(py::reinterpret_borrow<py::object>(given));
}

}  // namespace

Sequence::Sequence(py::handle given, const char* name, const char* wanted)
    : held_(tuple_of(given, name, wanted)) {}

template <class T>
std::int64_t NetworkCall<T>::read_inputs(const Graph& graph, Items x, bool row_allowed) {
  const std::size_t size = graph.inputs().size();
  check_count("x", x.size(), size);
  std::int64_t rows = kAny;
  for (std::size_t i = 0; i < size; ++i) {
    const Argument argument = element("x", size, i);
    const Node& node = graph.node(graph.inputs()[i]);
    const TableWanted wanted{.rows = rows, .columns = node.features, .row_allowed = row_allowed};
    arrays.push_back(as_array(x[i], argument));
    inputs.push_back(as_table(arrays.back(), argument, wanted));
    rows = inputs.back().rows;
  }
  return rows;
}

template <class T>
Batch NetworkCall<T>::read_batch(const Graph& graph, Items x, Items y, std::size_t terms,
                                 py::handle given_rows, py::handle weight, bool row_allowed) {
  Batch batch;
  const std::int64_t row_count = read_inputs(graph, x, row_allowed);
  check_count("y", y.size(), terms);
  for (std::size_t i = 0; i < terms; ++i) {
    const Argument argument = element("y", terms, i);
    arrays.push_back(as_array(y[i], argument));
    targets.push_back(as_table(arrays.back(), argument, {.rows = row_count, .vector_allowed = true}));
  }
  batch.inputs = inputs;
  batch.targets = targets;
  batch.count = row_count;
  if (is_given(given_rows)) {
    read_rows(given_rows, row_count);
    batch.rows = rows.data();
    batch.count = std::ssize(rows);
  }
  if (is_given(weight)) {
    const OneOrSeveral given(weight, "sample_weight");
    const Items columns = given;
    if (columns.size() != 1) check_count("sample_weight", columns.size(), terms);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const Argument argument = element("sample_weight", columns.size(), i);
      arrays.push_back(as_array(columns[i], argument));
      sample_weights.push_back(
          as_table(arrays.back(), argument, {.rows = row_count, .columns = 1, .vector_allowed = true}));
      if (arrays.back().ndim() != 1)
        throw py::value_error(
            join(argument.text(), " must have shape (", row_count, ",); got (", row_count, ", 1)"));
    }
    batch.sample_weights = sample_weights;
  }
  return batch;
}

template <class T>
void NetworkCall<T>::read_rows(py::handle given, std::int64_t row_count) {
  const py::array indices = as_array(given, "rows");
  const auto* const first = input_vector<std::int64_t>(indices, "rows");
  rows.assign(first, first + indices.shape(0));
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i] < 0 || rows[i] >= row_count)
      throw py::value_error(join("rows[", i, "] must be in [0, ", row_count, "); got ", rows[i]));
}

template <class T>
std::int64_t NetworkCall<T>::take_rows(const Graph& graph, py::handle given) {
  const std::int64_t count = std::ssize(rows);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Argument argument = element("x", inputs.size(), i);
    const std::int64_t features = graph.node(graph.inputs()[i]).features;
    arrays[i] = as_array(arrays[i].attr("take")(given, 0), argument);  // subclasses may override take()
    inputs[i] = as_table(arrays[i], argument, {.rows = count, .columns = features});
  }
  return count;
}

template <class T>
void NetworkCall<T>::new_outputs(const Graph& graph, std::int64_t rows) {
  for (std::size_t i = 0; i < graph.outputs().size(); ++i) add_result(rows, output_features(graph, i));
}

template <class T>
void NetworkCall<T>::add_result(std::int64_t rows, std::int64_t features) {
  results.push_back(new_array<T>(rows, features));
  outputs.push_back({static_cast<T*>(results.back().mutable_data()), rows, features});
}

template <class T>
void NetworkCall<T>::read_outputs(const Graph& graph, const Parameters<T>& store, Items out,
                                  std::int64_t rows) {
  const std::size_t size = graph.outputs().size();
  const std::size_t input_count = arrays.size();
  check_count("out", out.size(), size);
  for (std::size_t i = 0; i < size; ++i) {
    const Argument argument = element("out", size, i);
    py::array array = as_array(out[i], argument);
    outputs.push_back(
        output_matrix<T>(array, argument, {Layout::contiguous_rows, rows, output_features(graph, i)}));
    for (std::size_t j = 0; j < input_count; ++j)
      check_no_overlap(array, argument, arrays[j], element("x", input_count, j));
    for (const py::array& other : results) check_no_overlap(array, argument, other, "another array of out");
    if (touches(array, store.values(), store.count() * static_cast<std::int64_t>(sizeof(T))))
      throw py::value_error(argument.text() +
                            " must not share memory with the model's parameters; got overlapping arrays");
    results.push_back(std::move(array));
  }
}

template <class T>
void NetworkCall<T>::read_grad_outputs(const Graph& graph, const char* name, Items gradients,
                                       std::int64_t rows) {
  const std::size_t size = graph.outputs().size();
  check_count(name, gradients.size(), size);
  for (std::size_t i = 0; i < size; ++i) {
    const Argument argument = element(name, size, i);
    arrays.push_back(as_array(gradients[i], argument));
    grad_outputs.push_back(
        input_matrix<T>(arrays.back(), argument, {Layout::contiguous_rows, rows, output_features(graph, i)}));
  }
}

template <class T>
void NetworkCall<T>::new_input_gradients(const Graph& graph, std::int64_t rows, bool wanted) {
  for (const int index : graph.inputs()) {
    const Node& node = graph.node(index);
    if (wanted && !node.is_integer)
      add_result(rows, node.features);
    else
      outputs.emplace_back();
  }
}

template <class T>
py::list NetworkCall<T>::list_of_results() const {
  py::list list(results.size());
  for (std::size_t i = 0; i < results.size(); ++i) list[i] = results[i];
  return list;
}

template <class T>
py::object NetworkCall<T>::take_results() {
  if (results.size() == 1) return std::move(results[0]);
  return list_of_results();
}

template <class T>
void NetworkCall<T>::forget_arguments() {
  inputs.clear();
  targets.clear();
  sample_weights.clear();
  outputs.clear();
  grad_outputs.clear();
  rows.clear();
  arrays.clear();
  results.clear();
}

template struct NetworkCall<float>;
template struct NetworkCall<double>;

}  // namespace nncore::bindings
