// NumPy arrays as views that the core understands. This is the only place that checks arrays.
//
// Nothing is converted or copied. An array that does not fit is rejected before anything is written, with an
// error that names the argument, what is allowed and what was given: TypeError for a dtype, ValueError
// otherwise.
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

/// An argument as messages call it: "x", or "x[2]" for one of a sequence.
struct Argument {
  const char* name;
  py::ssize_t index = -1;  ///< -1 if it is not one of a sequence

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

/// What a function requires of an array.
struct Wanted {
  Layout layout = Layout::one_unit_stride;
  std::int64_t rows = kAny;
  std::int64_t columns = kAny;
};

/// A checked matrix without its element type. Strides are in elements.
struct RawMatrix {
  void* data;
  std::int64_t rows, columns, row_stride, column_stride;
};

// Check an array and return its data, the untyped forms of the functions below. `written`: it must be
// writable.
RawMatrix check_matrix(const py::array& array, Argument argument, ScalarType type, Wanted wanted,
                       bool written);
void* check_vector(const py::array& array, Argument argument, ScalarType type, std::int64_t length,
                   bool written);

/// The array as a matrix to read.
template <class T>
Matrix<const T> input_matrix(const py::array& array, Argument argument, Wanted wanted = {}) {
  const RawMatrix raw = check_matrix(array, argument, scalar_type<T>(), wanted, false);
  return {static_cast<const T*>(raw.data), raw.rows, raw.columns, raw.row_stride, raw.column_stride};
}

/// The array as a matrix to write.
template <class T>
Matrix<T> output_matrix(const py::array& array, Argument argument, Wanted wanted = {}) {
  const RawMatrix raw = check_matrix(array, argument, scalar_type<T>(), wanted, true);
  return {static_cast<T*>(raw.data), raw.rows, raw.columns, raw.row_stride, raw.column_stride};
}

/// The data of a contiguous 1-D array of `length` elements to read.
template <class T>
const T* input_vector(const py::array& array, Argument argument, std::int64_t length = kAny) {
  return static_cast<const T*>(check_vector(array, argument, scalar_type<T>(), length, false));
}

/// The same to write.
template <class T>
T* output_vector(const py::array& array, Argument argument, std::int64_t length = kAny) {
  return static_cast<T*>(check_vector(array, argument, scalar_type<T>(), length, true));
}

/// A new C-ordered array, not initialized.
py::array new_array(ScalarType type, int dimensions, const py::ssize_t* shape);

template <class T, class... Extents>
py::array new_array(Extents... extents) {
  const py::ssize_t shape[] = {static_cast<py::ssize_t>(extents)...};
  return new_array(scalar_type<T>(), static_cast<int>(sizeof...(extents)), shape);
}

void check_same_shape(const py::array& array, Argument argument, const py::array& other,
                      Argument other_argument);

/// Rejects a written array that shares memory with another. `same_allowed`: unless both are the same array.
void check_no_overlap(const py::array& written, Argument argument, const py::array& other,
                      Argument other_argument, bool same_allowed = false);

/// Whether the array's memory overlaps [data, data + bytes).
bool touches(const py::array& array, const void* data, std::int64_t bytes);

/// The precision of a call, taken from its first array. TypeError unless it is float32 or float64.
ScalarType precision_of(const py::array& array, Argument argument);

/// Calls function(T()) with T float or double, according to the array's dtype.
template <class Function>
auto with_precision_of(const py::array& array, Argument argument, Function&& function) {
  return precision_of(array, argument) == ScalarType::float32 ? function(float()) : function(double());
}

bool is_array(py::handle object);

/// The object as an array, without conversion. TypeError if it is not one, ValueError if it has masked
/// entries (numpy.ma).
py::array as_array(py::handle object, Argument argument);

using OptionalArray = std::optional<py::array>;

/// The same; nothing for None or an argument that is not given (null).
OptionalArray as_optional_array(py::handle object, Argument argument);

/// What a function requires of data that it converts while reading. Any real dtype and any strides are valid.
struct TableWanted {
  std::int64_t rows = kAny;
  std::int64_t columns = kAny;
  bool integers = false;        ///< only integer dtypes are valid
  bool vector_allowed = false;  ///< a 1-D array is one column
  bool row_allowed = false;     ///< a 1-D array is one row
};

Table as_table(const py::array& array, Argument argument, TableWanted wanted);

/// The target of a loss: values, checked by check_target_values, or class labels (B,) or (B, 1) of any
/// integer dtype. Labels are copied, as another thread might change the array after they were checked.
template <class T>
struct LossTarget {
  /// Rows with weight 0 are not checked. `weight` may be null.
  LossTarget(const Loss& loss, const py::array& array, Matrix<const T> prediction, const T* weight);

  Target<T> target;
  std::vector<std::int64_t> copied;  ///< labels
};

}  // namespace nncore::bindings
