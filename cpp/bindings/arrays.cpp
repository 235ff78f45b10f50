#include "arrays.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "calls.hpp"
#include "functions/join.hpp"
#include "guards.hpp"

namespace nncore::bindings {
namespace {

constexpr std::array<std::size_t, 13> kItemSize = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, sizeof(long double)};
constexpr std::array<const char*, 13> kTypeName = {"bool",    "int8",    "int16",     "int32",  "int64",
                                                   "uint8",   "uint16",  "uint32",    "uint64", "float16",
                                                   "float32", "float64", "longdouble"};

std::size_t item_size(ScalarType type) { return kItemSize[static_cast<std::size_t>(type)]; }
const char* type_name(ScalarType type) { return kTypeName[static_cast<std::size_t>(type)]; }

[[noreturn]] void refuse(Argument argument, const std::string& what) {
  throw py::value_error(argument.text() + " " + what);
}

std::string listed(const py::ssize_t* numbers, py::ssize_t count) {
  std::string text;
  for (py::ssize_t i = 0; i < count; ++i) text += join(i > 0 ? ", " : "", numbers[i]);
  return text;
}

std::string shape_text(const py::array& array) {
  return join("(", listed(array.shape(), array.ndim()), array.ndim() == 1 ? ",)" : ")");
}

std::string strides_text(const py::array& array) { return listed(array.strides(), array.ndim()); }

constexpr ScalarType integer_type(std::size_t size, bool is_signed) {
  const auto first = static_cast<int>(is_signed ? ScalarType::int8 : ScalarType::uint8);
  return static_cast<ScalarType>(first + std::countr_zero(size));
}

/// Indexed by NumPy's type number. NumPy has one for each integer type of C, two of which are the same on
/// most platforms.
constexpr std::array<std::optional<ScalarType>, 24> kTypeOfNumber = [] {
  std::array<std::optional<ScalarType>, 24> types{};
  types[0] = ScalarType::boolean;
  constexpr std::size_t kSizes[] = {sizeof(char), sizeof(short), sizeof(int), sizeof(long),
                                    sizeof(long long)};
  for (std::size_t i = 0; i < std::size(kSizes); ++i) {
    types[1 + 2 * i] = integer_type(kSizes[i], true);
    types[2 + 2 * i] = integer_type(kSizes[i], false);
  }
  types[11] = ScalarType::float32;
  types[12] = ScalarType::float64;
  types[13] = ScalarType::long_double;
  types[23] = ScalarType::float16;
  return types;
}();

/// The byte order character of non-native dtypes. Native ones have '=', '|' if order does not matter, or the
/// machine's own order spelled out, as readers of files leave it.
constexpr char kOtherByteOrder = std::endian::native == std::endian::little ? '>' : '<';

/// The scalar type of an array in native byte order; nothing for other arrays.
std::optional<ScalarType> find_type(const py::array& array) {
  const auto* const dtype = py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr);
  const auto number = static_cast<std::size_t>(dtype->type_num);
  const bool is_native = dtype->byteorder != kOtherByteOrder;
  return is_native && number < kTypeOfNumber.size() ? kTypeOfNumber[number] : std::nullopt;
}

[[noreturn]] void refuse_dtype(const py::array& array, Argument argument, const std::string& allowed) {
  throw py::type_error(argument.text() + " must have " + allowed + ", in native byte order; got dtype " +
                       py::str(array.dtype()).cast<std::string>());
}

void check_type(const py::array& array, Argument argument, ScalarType type) {
  if (find_type(array) != type) refuse_dtype(array, argument, join("dtype ", type_name(type)));
}

void check_memory(const py::array& array, Argument argument, ScalarType type, bool written) {
  if (written && !array.writeable()) refuse(argument, "must be writable; got a read-only array");
  const std::size_t alignment = std::min(item_size(type), sizeof(void*));
  if (array.size() > 0 && reinterpret_cast<std::uintptr_t>(array.data()) % alignment != 0)
    refuse(argument, "must be aligned to its elements; got a misaligned array: copy it first");
}

[[noreturn]] void refuse_shape(const py::array& array, Argument argument, const std::string& wanted) {
  refuse(argument, "must have shape " + wanted + "; got " + shape_text(array));
}

std::string wanted_shape(std::int64_t rows, std::int64_t columns, bool vector_allowed) {
  const auto extent = [](std::int64_t n) { return n == kAny ? "any" : std::to_string(n); };
  std::string text = "(" + extent(rows) + ", " + extent(columns) + ")";
  if (vector_allowed && (columns == kAny || columns == 1)) text += " or (" + extent(rows) + ",)";
  return text;
}

std::string wanted_shape(Wanted wanted) {
  return wanted_shape(wanted.rows, wanted.columns, wanted.layout == Layout::rows_or_vector);
}

std::string wanted_shape(TableWanted wanted) {
  const bool row_allowed = wanted.row_allowed && (wanted.rows == kAny || wanted.rows == 1);
  return wanted_shape(wanted.rows, wanted.columns, wanted.vector_allowed) +
         (row_allowed ? " or (" + std::to_string(wanted.columns) + ",)" : "");
}

[[noreturn]] void refuse_layout(const py::array& array, Argument argument, Layout layout) {
  const char* need = layout == Layout::one_unit_stride
                         ? "be in C or F order, with any leading dimension"
                         : "have contiguous rows (C order, with any leading dimension)";
  refuse(argument, join("must ", need, "; got shape ", shape_text(array), " and strides of (",
                        strides_text(array), ") bytes: numpy.ascontiguousarray makes a copy that fits"));
}

/// The memory from the first to past the last byte of an array.
struct Span {
  std::uintptr_t begin, end;
};

Span span_of(const py::array& array) {
  const auto data = reinterpret_cast<std::intptr_t>(array.data());
  if (array.size() == 0) return {static_cast<std::uintptr_t>(data), static_cast<std::uintptr_t>(data)};
  std::intptr_t begin = data, end = data + array.itemsize();
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    const std::intptr_t reach = (array.shape(i) - 1) * array.strides(i);
    (reach < 0 ? begin : end) += reach;
  }
  return {static_cast<std::uintptr_t>(begin), static_cast<std::uintptr_t>(end)};
}

/// Whether two arrays are views of the same elements in the same order.
bool is_same_view(const py::array& a, const py::array& b) {
  if (a.data() != b.data() || a.ndim() != b.ndim()) return false;
  for (py::ssize_t i = 0; i < a.ndim(); ++i)
    if (a.shape(i) != b.shape(i) || (a.shape(i) > 1 && a.strides(i) != b.strides(i))) return false;
  return true;
}

/// Rejects a numpy.ma array with masked entries, whose numbers are meaningless.
void check_mask(const py::array& array, Argument argument) {
  // If numpy.ma has not been imported, there are no such arrays; importing it would take 10 ms.
  const auto masked_arrays = py::reinterpret_steal<py::object>(PyImport_GetModule(py::str("numpy.ma").ptr()));
  if (!masked_arrays || !py::isinstance(array, masked_arrays.attr("MaskedArray"))) return;
  const auto count = py::int_(masked_arrays.attr("count_masked")(array)).cast<std::int64_t>();
  if (count == 0) return;
  const py::object mask = masked_arrays.attr("getmaskarray")(masked_arrays.attr("atleast_1d")(array));
  const auto first = py::tuple(mask.attr("nonzero")());
  std::string place;
  for (std::size_t axis = 0; axis < std::min<std::size_t>(first.size(), 2); ++axis)
    place += (axis == 0 ? "row " : ", column ") + py::str(first[axis][py::int_(0)]).cast<std::string>();
  refuse(argument, "must have no masked entries; got " + std::to_string(count) + ", the first in " + place +
                       ": fill them by .filled(value), or drop their rows");
}

}  // namespace

std::string Argument::text() const { return index < 0 ? name : join(name, "[", index, "]"); }

py::array new_array(ScalarType type, int dimensions, const py::ssize_t* shape) {
  const auto& numpy = py::detail::npy_api::get();
  const auto number = std::find(kTypeOfNumber.begin(), kTypeOfNumber.end(), type) - kTypeOfNumber.begin();
  PyObject* const dtype = numpy.PyArray_DescrFromType_(static_cast<int>(number));
  // pybind11's own constructor takes twice as long. NewFromDescr steals the reference to the dtype.
  PyObject* const array = numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, dtype, dimensions, shape, nullptr,
                                                      nullptr, 0, nullptr);
  if (array == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::array>(array);
}

RawMatrix check_matrix(const py::array& array, Argument argument, ScalarType type, Wanted wanted,
                       bool written) {
  check_type(array, argument, type);
  const bool is_vector = array.ndim() == 1 && wanted.layout == Layout::rows_or_vector;
  if (!is_vector && array.ndim() != 2) refuse_shape(array, argument, wanted_shape(wanted));
  const std::int64_t rows = is_vector ? 1 : array.shape(0);
  const std::int64_t columns = array.shape(is_vector ? 0 : 1);
  if ((wanted.rows != kAny && rows != wanted.rows) || (wanted.columns != kAny && columns != wanted.columns))
    refuse_shape(array, argument, wanted_shape(wanted));
  check_memory(array, argument, type, written);

  RawMatrix raw{const_cast<void*>(array.data()), rows, columns, columns, 1};
  if (rows == 0 || columns == 0) return raw;
  // The stride of an extent of 1 is never used and may be anything.
  const auto size = static_cast<std::int64_t>(item_size(type));
  const std::int64_t row_bytes = rows == 1 ? columns * size : array.strides(0);
  const std::int64_t column_bytes = columns == 1 ? size : array.strides(is_vector ? 0 : 1);
  if (row_bytes % size != 0 || column_bytes % size != 0) refuse_layout(array, argument, wanted.layout);
  raw.row_stride = row_bytes / size;
  raw.column_stride = column_bytes / size;
  if (raw.column_stride == 1 && raw.row_stride >= columns) return raw;
  if (wanted.layout != Layout::one_unit_stride) refuse_layout(array, argument, wanted.layout);
  if (rows == 1) raw.row_stride = 1;
  if (raw.row_stride != 1 || raw.column_stride < rows) refuse_layout(array, argument, wanted.layout);
  return raw;
}

void* check_vector(const py::array& array, Argument argument, ScalarType type, std::int64_t length,
                   bool written) {
  check_type(array, argument, type);
  if (array.ndim() != 1 || (length != kAny && array.shape(0) != length))
    refuse_shape(array, argument, "(" + (length == kAny ? "any" : std::to_string(length)) + ",)");
  check_memory(array, argument, type, written);
  if (array.shape(0) > 1 && array.strides(0) != static_cast<py::ssize_t>(item_size(type)))
    refuse(argument, "must be contiguous; got a stride of " + strides_text(array) + " bytes");
  return const_cast<void*>(array.data());
}

void check_same_shape(const py::array& array, Argument argument, const py::array& other,
                      Argument other_argument) {
  if (array.ndim() != other.ndim() || !std::equal(array.shape(), array.shape() + array.ndim(), other.shape()))
    refuse_shape(array, argument, shape_text(other) + ", as " + other_argument.text() + " has");
}

void check_no_overlap(const py::array& written, Argument argument, const py::array& other,
                      Argument other_argument, bool same_allowed) {
  const Span a = span_of(written), b = span_of(other);
  if (a.begin >= b.end || b.begin >= a.end) return;
  if (same_allowed && is_same_view(written, other)) return;
  // The exact test is expensive, but columns of one array interleave without overlapping.
  if (py::module_::import("numpy").attr("shares_memory")(written, other).cast<bool>())
    refuse(argument, join("must not share memory with ", other_argument.text(),
                          same_allowed ? " unless it is the same array" : "", "; got overlapping arrays"));
}

bool touches(const py::array& array, const void* data, std::int64_t bytes) {
  const Span span = span_of(array);
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  return span.begin < begin + static_cast<std::uintptr_t>(bytes) && begin < span.end;
}

ScalarType precision_of(const py::array& array, Argument argument) {
  const std::optional<ScalarType> type = find_type(array);
  if (type != ScalarType::float32 && type != ScalarType::float64)
    refuse_dtype(array, argument, "dtype float32 or float64");
  return *type;
}

bool is_array(py::handle object) { return py::detail::npy_api::get().PyArray_Check_(object.ptr()); }

py::array as_array(py::handle object, Argument argument) {
  if (!is_array(object))
    throw py::type_error(argument.text() + " must be a NumPy array; got " + described(object));
  auto array = py::reinterpret_borrow<py::array>(object);
  // Masked arrays are a subclass of ndarray; most arrays are not of a subclass.
  if (Py_TYPE(object.ptr()) != py::detail::npy_api::get().PyArray_Type_) check_mask(array, argument);
  return array;
}

OptionalArray as_optional_array(py::handle object, Argument argument) {
  if (!object || object.is_none()) return std::nullopt;
  return as_array(object, argument);
}

Table as_table(const py::array& array, Argument argument, TableWanted wanted) {
  const std::optional<ScalarType> type = find_type(array);
  if (!type || (wanted.integers && !is_integer(*type)))
    refuse_dtype(array, argument,
                 wanted.integers ? "an integer dtype"
                                 : "dtype bool, integer, float16, float32, float64 or longdouble");
  const bool is_vector = array.ndim() == 1 && (wanted.vector_allowed || wanted.row_allowed);
  if (!is_vector && array.ndim() != 2) refuse_shape(array, argument, wanted_shape(wanted));
  const auto size = static_cast<std::int64_t>(item_size(*type));
  Table table{array.data(), *type, array.shape(0), 1, array.strides(0), size};
  if (!is_vector) {
    table.columns = array.shape(1);
    table.column_stride = array.strides(1);
  } else if (wanted.row_allowed) {
    table.columns = std::exchange(table.rows, 1);
    table.column_stride = table.row_stride;
    table.row_stride *= table.columns;
  }
  if ((wanted.rows != kAny && table.rows != wanted.rows) ||
      (wanted.columns != kAny && table.columns != wanted.columns))
    refuse_shape(array, argument, wanted_shape(wanted));
  return table;
}

template <class T>
LossTarget<T>::LossTarget(const Loss& loss, const py::array& array, Matrix<const T> prediction,
                          const T* weight) {
  const bool takes_labels = entry_of(loss.kind).takes_labels;
  const std::optional<ScalarType> type = find_type(array);
  const bool is_column = array.ndim() == 1 || (array.ndim() == 2 && array.shape(1) == 1);
  if (!takes_labels || !type || !is_integer(*type) || !is_column) {
    if (takes_labels && type != scalar_type<T>())
      refuse_dtype(array, "target",
                   join("dtype ", type_name(scalar_type<T>()),
                        " and shape (B, O), or be labels (B,) or (B, 1) of an integer dtype"));
    const std::int64_t columns = target_width(loss, "prediction", prediction.columns);
    target.values = input_matrix<T>(array, "target", {Layout::contiguous_rows, prediction.rows, columns});
    Table values = table(target.values.data, prediction.rows, columns);
    values.row_stride = target.values.row_stride * static_cast<std::int64_t>(sizeof(T));
    compute(static_cast<double>(values.rows) * static_cast<double>(values.columns), [&] {
      for (std::int64_t first = 0, end = 0; first < values.rows; first = end + 1) {
        end =
            weight == nullptr ? values.rows : std::find(weight + first, weight + values.rows, T{0}) - weight;
        check_target_values(loss.kind, "target", values, nullptr, first, end - first);
      }
    });
    return;
  }
  const Table labels = as_table(
      array, "target", {.rows = prediction.rows, .columns = 1, .integers = true, .vector_allowed = true});
  // At least one element, as null labels would mean that the target holds values.
  copied.resize(static_cast<std::size_t>(std::max<std::int64_t>(labels.rows, 1)));
  gather_rows(labels, nullptr, labels.rows, copied.data());
  target.labels = copied.data();
}

template struct LossTarget<float>;
template struct LossTarget<double>;

}  // namespace nncore::bindings
