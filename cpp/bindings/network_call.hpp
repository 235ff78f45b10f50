// What a call of a network works with: its workspace, and its arguments once they have been checked.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "arrays.hpp"
#include "nncore/graph.hpp"
#include "nncore/network.hpp"

namespace nncore::bindings {

/// Borrowed objects that must be arrays, one a graph input, output or loss term.
using Items = std::span<PyObject* const>;

/// The objects of a sequence, held while they are read: another thread may change a list.
class Sequence {
 public:
  Sequence(py::handle given, const char* name, const char* wanted = "a sequence of arrays");
  operator Items() const { return {PySequence_Fast_ITEMS(held_.ptr()), held_.size()}; }

 private:
  py::tuple held_;
};

/// One array, borrowed, or the objects of a sequence.
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

/// Everything that a running call needs, kept for the next call so that it need not allocate. The functions
/// that read arguments raise TypeError and ValueError, and have written nothing then.
template <class T>
struct NetworkCall {
  Workspace<T> workspace;
  std::vector<Table> inputs, targets, sample_weights;
  std::vector<std::int64_t> rows;  ///< copied: another thread may write to the array during the call
  std::vector<Matrix<T>> outputs;
  std::vector<Matrix<const T>> grad_outputs;
  std::vector<py::array> arrays;   ///< what the tables and matrices point into
  std::vector<py::array> results;  ///< what the call returns

  /// Fills `inputs` and returns the number of rows that all of them have. `row_allowed`: 1-D is one row.
  std::int64_t read_inputs(const Graph& graph, Items x, bool row_allowed = false);

  /// Fills `inputs`, `targets` and `sample_weights`. rows, weight: None or null for all rows, for no weights;
  /// weight: an array for all terms, or a sequence of one for each.
  Batch read_batch(const Graph& graph, Items x, Items y, std::size_t terms, py::handle rows,
                   py::handle weight, bool row_allowed = false);

  /// Fills `rows` with contiguous int64 indices, each in [0, row_count).
  void read_rows(py::handle given, std::int64_t row_count);

  /// Replaces `inputs` by the rows that were read, and returns their number. `given` is what read_rows had.
  std::int64_t take_rows(const Graph& graph, py::handle given);

  /// Fills `outputs` and `results` with new arrays.
  void new_outputs(const Graph& graph, std::int64_t rows);
  void add_result(std::int64_t rows, std::int64_t features);

  /// Fills them with the caller's, which must not share memory with anything that the call reads.
  void read_outputs(const Graph& graph, const Parameters<T>& store, Items out, std::int64_t rows);

  void read_grad_outputs(const Graph& graph, const char* name, Items gradients, std::int64_t rows);

  /// Fills `outputs` and `results` with new arrays for the gradients of float inputs, if `wanted`.
  void new_input_gradients(const Graph& graph, std::int64_t rows, bool wanted);

  py::list list_of_results() const;

  /// The one result, or a list of several.
  py::object take_results();

  /// Needs the GIL, as arrays are let go.
  void forget_arguments();
};

}  // namespace nncore::bindings
