// NumPy arrays as views that the core understands. This is the only place that checks arrays.
//
// Nothing is converted or copied: an array that does not fit is refused before anything is written, by an
// error that names the argument, what came and what is allowed. TypeError: dtypes. ValueError: the rest.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nncore/dataset.hpp"
#include "nncore/losses.hpp"
#include "nncore/matrix.hpp"

namespace nncore::bindings {

namespace py = pybind11;

/// An argument as messages call it: "x", or "x[2]" where it is one of a sequence.
struct Argument {
  const char* name;
  py::ssize_t index = -1;

  Argument(const char* name_) : name(name_) {}  // NOLINT(google-explicit-constructor)
  Argument(const char* name_, py::ssize_t index_) : name(name_), index(index_) {}
  std::string text() const;
};

/// An extent that may be anything.
inline constexpr std::int64_t kAny = -1;

enum class Layout {
  one_unit_stride,  ///< 2-D, C or F order, any leading dimension
  contiguous_rows,  ///< 2-D, C order, any leading dimension
  rows_or_vector    ///< as contiguous_rows, or 1-D contiguous: one row
};

/// What a function asks of an array.
struct Wanted {
  Layout layout = Layout::one_unit_stride;
  std::int64_t rows = kAny;
  std::int64_t columns = kAny;
};

/// A checked matrix whose element type is no longer visible.
struct RawMatrix {
  void* data;
  std::int64_t rows, columns, row_stride, column_stride;
};

RawMatrix check_matrix(const py::array& array, Argument argument, ScalarType type, Wanted wanted,
                       bool written);
void* check_vector(const py::array& array, Argument argument, ScalarType type, std::int64_t length,
                   bool written);

template <class T>
Matrix<const T> input_matrix(const py::array& array, Argument argument, Wanted wanted = {}) {
  const RawMatrix raw = check_matrix(array, argument, scalar_type<T>(), wanted, false);
  return {static_cast<const T*>(raw.data), raw.rows, raw.columns, raw.row_stride, raw.column_stride};
}

template <class T>
Matrix<T> output_matrix(const py::array& array, Argument argument, Wanted wanted = {}) {
  const RawMatrix raw = check_matrix(array, argument, scalar_type<T>(), wanted, true);
  return {static_cast<T*>(raw.data), raw.rows, raw.columns, raw.row_stride, raw.column_stride};
}

/// A contiguous 1-D array of `length` elements, or of any length.
template <class T>
const T* input_vector(const py::array& array, Argument argument, std::int64_t length = kAny) {
  return static_cast<const T*>(check_vector(array, argument, scalar_type<T>(), length, false));
}

template <class T>
T* output_vector(const py::array& array, Argument argument, std::int64_t length = kAny) {
  return static_cast<T*>(check_vector(array, argument, scalar_type<T>(), length, true));
}

/// A new C-ordered array, not initialised.
py::array new_array(ScalarType type, int dimensions, const py::ssize_t* shape);

template <class T, class... Extents>
py::array new_array(Extents... extents) {
  const py::ssize_t shape[] = {static_cast<py::ssize_t>(extents)...};
  return new_array(scalar_type<T>(), static_cast<int>(sizeof...(extents)), shape);
}

void check_same_shape(const py::array& array, Argument argument, const py::array& other,
                      Argument other_argument);

/// Refuses memory that two arrays share, one of them written. `same_allowed`: unless they are one array.
void check_no_overlap(const py::array& written, Argument argument, const py::array& other,
                      Argument other_argument, bool same_allowed = false);

/// Whether the array's memory reaches into [data, data + bytes).
bool touches(const py::array& array, const void* data, std::int64_t bytes);

/// The precision of a call, decided by its first array: TypeError unless float32 or float64.
ScalarType precision_of(const py::array& array, Argument argument);

/// Calls function(T()) with T float or double, as the array's dtype says.
template <class Function>
auto with_precision_of(const py::array& array, Argument argument, Function&& function) {
  return precision_of(array, argument) == ScalarType::float32 ? function(float()) : function(double());
}

bool is_array(py::handle object);

/// The array that an object must be, without conversion. ValueError where it has masked entries (numpy.ma).
py::array as_array(py::handle object, Argument argument);

using OptionalArray = std::optional<py::array>;

/// The same; nothing for None, and for an argument that is not given (null).
OptionalArray as_optional_array(py::handle object, Argument argument);

/// What a function asks of data that it converts while it reads: any real dtype, any strides.
struct TableWanted {
  std::int64_t rows = kAny;
  std::int64_t columns = kAny;
  bool integers = false;        ///< only integer dtypes
  bool vector_allowed = false;  ///< 1-D is one column
  bool row_allowed = false;     ///< 1-D is one row
};

Table as_table(const py::array& array, Argument argument, TableWanted wanted);

/// Contiguous int64 row indices, each checked to be in [0, row_count).
const std::int64_t* as_rows(const py::array& rows, Argument argument, std::int64_t row_count);

/// A loss's target: values, checked as check_target_values does, or class labels (B,) or (B, 1) of any
/// integer dtype. int64 labels are used in place; other integers are the one thing that is converted, into
/// `converted`.
template <class T>
struct LossTarget {
  /// Rows whose weight is 0 are not looked at; null: all are.
  LossTarget(const Loss& loss, const py::array& array, Matrix<const T> prediction, const T* weight);

  Target<T> target;
  std::vector<std::int64_t> converted;
};

}  // namespace nncore::bindings
