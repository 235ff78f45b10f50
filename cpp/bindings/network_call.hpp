// What a call of a network works with: its workspace and its checked arguments.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "arrays.hpp"
#include "nncore/graph.hpp"
#include "nncore/network.hpp"

namespace nncore::bindings {

/// Borrowed objects that must be arrays, one per graph input, graph output or loss term.
using Items = std::span<PyObject* const>;

/// The objects of a sequence, kept alive while they are read: another thread may change a list.
class Sequence {
 public:
  Sequence(py::handle given, const char* name, const char* wanted = "a sequence of arrays");
  operator Items() const { return {PySequence_Fast_ITEMS(held_.ptr()), held_.size()}; }

 private:
  py::tuple held_;
};

/// One borrowed array, or the objects of a sequence.
class OneOrSeveral {
 public:
  OneOrSeveral(py::handle given, const char* name) : one_(given.ptr()) {
    if (!is_array(given)) several_.emplace(given, name, "an array or a sequence of arrays");
  }
  operator Items() const { return several_ ? Items(*several_) : Items(&one_, 1); }

 private:
  PyObject* one_;
  std::optional<Sequence> several_;
};

/// Everything that a running call needs, reused by the next call so that it need not allocate. The functions
/// that read arguments raise TypeError or ValueError before anything is written.
template <class T>
struct NetworkCall {
  Workspace<T> workspace;
  std::vector<Table> inputs, targets, sample_weights;
  std::vector<std::int64_t> rows;  ///< copied: another thread may write to the array during the call
  std::vector<Matrix<T>> outputs;
  std::vector<Matrix<const T>> grad_outputs;
  std::vector<py::array> arrays;   ///< what the tables and matrices point into
  std::vector<py::array> results;  ///< what the call returns

  /// Fills `inputs` and returns their common number of rows. `row_allowed`: a 1-D array is one row.
  std::int64_t read_inputs(const Graph& graph, Items x, bool row_allowed = false);

  /// Fills `inputs`, `targets` and `sample_weights`. rows: None or null for all rows. weight: None or null
  /// for no weights, one array for all terms, or a sequence with one per term.
  Batch read_batch(const Graph& graph, Items x, Items y, std::size_t terms, py::handle rows,
                   py::handle weight, bool row_allowed = false);

  /// Fills `rows` with contiguous int64 indices, each in [0, row_count).
  void read_rows(py::handle given, std::int64_t row_count);

  /// Replaces `inputs` by the rows that read_rows(given) read, and returns their number.
  std::int64_t take_rows(const Graph& graph, py::handle given);

  /// Fills `outputs` and `results` with new arrays.
  void new_outputs(const Graph& graph, std::int64_t rows);
  /// Adds one new array to `outputs` and `results`.
  void add_result(std::int64_t rows, std::int64_t features);

  /// Fills `outputs` and `results` with the caller's arrays, which must not share memory with anything that
  /// the call reads.
  void read_outputs(const Graph& graph, const Parameters<T>& store, Items out, std::int64_t rows);

  /// Fills `grad_outputs`.
  void read_grad_outputs(const Graph& graph, const char* name, Items gradients, std::int64_t rows);

  /// Fills `outputs`, and `results` with new arrays for the gradients of float inputs, if `wanted`.
  void new_input_gradients(const Graph& graph, std::int64_t rows, bool wanted);

  py::list list_of_results() const;

  /// The result if there is one, otherwise a list of them.
  py::object take_results();

  /// Releases the arrays of the call. Needs the GIL.
  void forget_arguments();
};

}  // namespace nncore::bindings
