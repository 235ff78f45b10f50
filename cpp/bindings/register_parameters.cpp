// The parts of a network: segments and their store, nodes and their graph.
#include "nncore/parameters.hpp"

#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "entries.hpp"
#include "functions/join.hpp"
#include "guards.hpp"
#include "nncore/graph.hpp"
#include "nncore/network.hpp"
#include "register.hpp"
#include "views.hpp"

namespace nncore::bindings {
namespace {

constexpr double kFlopsPerNumber = 30.0;  ///< to draw or copy one; only decides whether the GIL is released

Initializer make_initializer(const std::string& kind, const py::dict& parameters) {
  return make_owner<Initializer>(kInitializers, "initializer", kind, parameters);
}

// Segments and their store -----------------------------------------------------------------------------

Segment make_segment(std::string name, std::vector<std::int64_t> shape, const std::string& layout,
                     const std::string& initializer, const py::dict& initializer_parameters, bool trainable,
                     double learning_rate_multiplier, double weight_decay_multiplier) {
  Segment segment;
  segment.name = std::move(name);
  segment.shape = std::move(shape);
  if (layout != "columns" && layout != "rows")
    refuse_name("layout", layout, py::make_tuple("columns", "rows"));
  segment.layout = layout == "rows" ? SegmentLayout::by_rows : SegmentLayout::by_columns;
  segment.initializer = make_initializer(initializer, initializer_parameters);
  segment.trainable = trainable;
  segment.learning_rate_multiplier = learning_rate_multiplier;
  segment.weight_decay_multiplier = weight_decay_multiplier;
  return segment;
}

py::tuple shape_of(const Segment& segment) { return py::tuple(py::cast(segment.shape)); }

void register_segment(py::module_& m) {
  py::class_<Segment>(m, "Segment",
                      "One named piece of a store: its shape, its initializer, and how optimizers treat it.")
      .def(py::init(&make_segment), py::arg("name"), py::arg("shape"), py::kw_only(),
           py::arg("layout") = "columns", py::arg("initializer") = "zeros",
           py::arg("initializer_parameters") = py::dict(), py::arg("trainable") = true,
           py::arg("learning_rate_multiplier") = 1.0, py::arg("weight_decay_multiplier") = 0.0)
      .def_readonly("name", &Segment::name)
      .def_property_readonly("shape", &shape_of)
      .def_readonly("trainable", &Segment::trainable)
      .def_readonly("learning_rate_multiplier", &Segment::learning_rate_multiplier)
      .def_readonly("weight_decay_multiplier", &Segment::weight_decay_multiplier);
}

/// A writable view of a segment in its shape.
template <class T>
py::array segment_view(const Segment& segment, T* data, py::handle owner) {
  constexpr auto kSize = static_cast<py::ssize_t>(sizeof(T));
  const std::size_t dimensions = segment.shape.size();
  std::vector<py::ssize_t> shape(segment.shape.begin(), segment.shape.end()), strides(dimensions);
  py::ssize_t stride = kSize;
  for (std::size_t i = dimensions; i-- > 0; stride *= shape[i]) strides[i] = stride;
  if (dimensions > 1 && segment.layout == SegmentLayout::by_columns) {
    strides[dimensions - 2] = kSize;
    strides[dimensions - 1] = shape[dimensions - 2] * kSize;
  }
  return py::array(py::dtype::of<T>(), std::move(shape), std::move(strides), data, owner);
}

const Segment& segment_at(const std::vector<Segment>& segments, int index) {
  if (index < 0 || static_cast<std::size_t>(index) >= segments.size())
    throw py::value_error(join("index must be in [0, ", segments.size(), "); got ", index));
  return segments[static_cast<std::size_t>(index)];
}

/// A view of the flat array of gradients or state, owned by the Python object of the store.
template <class T, T* (Parameters<T>::*data)(), std::int64_t (Parameters<T>::*count)() const>
py::array whole(const py::object& self) {
  auto& store = self.cast<Parameters<T>&>();
  return flat_view((store.*data)(), (store.*count)(), self);
}

template <class T>
py::array values(const std::shared_ptr<Parameters<T>>& store) {
  return flat_view(store->values(), store->count(), borrow(store));
}

template <class T>
py::array value(const std::shared_ptr<Parameters<T>>& store, int index) {
  const Segment& segment = segment_at(store->segments(), index);
  return segment_view(segment, store->values() + store->offset(index), borrow(store));
}

template <class T>
py::array gradient(const py::object& self, int index) {
  auto& store = self.cast<Parameters<T>&>();
  const Segment& segment = segment_at(store.segments(), index);
  return segment_view(segment, store.gradients() + store.offset(index), self);
}

template <class T>
py::array state_piece(const py::object& self, int index) {
  auto& store = self.cast<Parameters<T>&>();
  const Segment& segment = segment_at(store.state_segments(), index);
  return segment_view(segment, store.state() + store.state_offset(index), self);
}

template <class T>
double copy_flops(const Parameters<T>& store) {
  return static_cast<double>(store.count() + store.state_count()) * kFlopsPerNumber;
}

/// Changes a store from another, which nobody may change meanwhile. A store is not changed from itself.
template <class T, class Change>
void take_from(Parameters<T>& store, Parameters<T>& other, Change change) {
  if (&store == &other) return;
  const Writing use(store.usage());
  const Reading use_other(other.usage());
  compute(copy_flops(store), change);
}

/// A method that changes a setting of segment `index` while nobody uses the store.
template <class T, class Value>
auto segment_setter(void (Parameters<T>::*set)(int, Value)) {
  return [set](Parameters<T>& store, int index, Value value) {
    segment_at(store.segments(), index);
    const Writing use(store.usage());
    (store.*set)(index, value);
  };
}

}  // namespace

/// A context manager on a store: within it, nobody else trains the store (to copy it), or nobody else uses it
/// (to change it).
class StoreGuard {
 public:
  StoreGuard(std::shared_ptr<void> store, Usage& usage, bool changes)
      : store_(std::move(store)), usage_(usage), changes_(changes) {}
  ~StoreGuard() { exit(); }
  StoreGuard(const StoreGuard&) = delete;
  StoreGuard& operator=(const StoreGuard&) = delete;

  void enter() {
    if (copying_ || changing_) throw std::runtime_error("this guard has already been entered");
    if (changes_)
      changing_.emplace(usage_);
    else
      copying_.emplace(usage_);
  }
  void exit() {
    copying_.reset();
    changing_.reset();
  }

 private:
  std::shared_ptr<void> store_;  ///< kept alive
  Usage& usage_;
  bool changes_;
  std::optional<Copying> copying_;
  std::optional<Writing> changing_;
};

namespace {

void register_guard(py::module_& m) {
  py::class_<StoreGuard>(m, "StoreGuard",
                         "The context manager that Parameters.copying and Parameters.changing return.")
      .def("__enter__", &StoreGuard::enter)
      .def("__exit__", [](StoreGuard& guard, const py::args&) { guard.exit(); });
}

template <class T, bool changes>
std::unique_ptr<StoreGuard> guard(const std::shared_ptr<Parameters<T>>& store) {
  return std::make_unique<StoreGuard>(store, store->usage(), changes);
}

template <class T>
void register_store(py::module_& m, const char* name) {
  using Store = Parameters<T>;
  py::class_<Store, std::shared_ptr<Store>>(
      m, name,
      "The parameter store: flat arrays of values, gradients and\n"
      "non-trained state, and the table of their segments. The arrays are\n"
      "writable views that keep the store alive. Methods that write raise\n"
      "RuntimeError while another call uses it.")
      .def(py::init<std::vector<Segment>, std::vector<Segment>>(), py::arg("segments"),
           py::arg("state_segments") = std::vector<Segment>{})
      .def_property_readonly("values", &values<T>)
      .def_property_readonly("gradients",
                             &whole<T, static_cast<T* (Store::*)()>(&Store::gradients), &Store::count>)
      .def_property_readonly("state",
                             &whole<T, static_cast<T* (Store::*)()>(&Store::state), &Store::state_count>)
      .def_property_readonly("segments", [](const Store& store) { return store.segments(); })
      .def_property_readonly("state_segments", [](const Store& store) { return store.state_segments(); })
      .def_readwrite("seed", &Store::seed, "The seed of dropout.")
      .def_readwrite("random_step", &Store::random_step, "The number of training passes made, for dropout.")
      .def("value", &value<T>, py::arg("index"),
           "A view of the values of a segment in its shape: (O, I), stored column by column, or (O,).")
      .def("gradient", &gradient<T>, py::arg("index"), "A view of the gradient of a segment, like value().")
      .def("state_value", &state_piece<T>, py::arg("index"), "A view of a state segment, like value().")
      .def("copying", &guard<T, false>,
           "A context manager: within it, the store does not change, as training waits for its end. Raises\n"
           "RuntimeError on entry if the store is being trained.")
      .def("changing", &guard<T, true>,
           "A context manager: within it, nobody else uses the store. Raises RuntimeError on entry if\n"
           "somebody does.")
      .def(
          "initialize",
          [](Store& store, std::uint64_t seed) {
            const Writing use(store.usage());
            compute(copy_flops(store), [&] { store.initialize(seed); });
          },
          py::arg("seed"),
          "Fills every segment with its initializer. Numbers depend only on the seed and the segment's "
          "index.")
      .def("set_trainable", segment_setter<T, bool>(&Store::set_trainable), py::arg("index"),
           py::arg("trainable"))
      .def("set_learning_rate_multiplier", segment_setter<T, double>(&Store::set_learning_rate_multiplier),
           py::arg("index"), py::arg("multiplier"))
      .def("set_weight_decay_multiplier", segment_setter<T, double>(&Store::set_weight_decay_multiplier),
           py::arg("index"), py::arg("multiplier"))
      .def(
          "copy_from",
          [](Store& store, Store& other) { take_from(store, other, [&] { store.copy_from(other); }); },
          py::arg("other"),
          "Copies the values and state of another store. Raises ValueError if shapes differ.")
      .def(
          "soft_update",
          [](Store& store, Store& other, double fraction) {
            take_from(store, other, [&] { store.soft_update(other, fraction); });
          },
          py::arg("other"), py::arg("fraction"),
          "values += fraction (other's values - values), and the same for state. Raises ValueError\n"
          "if shapes differ.");
}

// Nodes and their graph --------------------------------------------------------------------------------

void register_graph(py::module_& m) {
  py::class_<Node>(m, "Node",
                   "An input of a graph, or an operation on other nodes, which it names by their indices.")
      .def_static("input", &input_node, py::arg("name"), py::arg("features"), py::arg("is_integer") = false)
      .def_static("make", &make_node, py::arg("kind"), py::arg("name"), py::arg("inputs"),
                  py::arg("segments") = std::vector<int>{}, py::arg("state") = std::vector<int>{},
                  py::arg("attributes") = Attributes{},
                  "Makes a node of any kind. segments and state are indices of the store's segments and "
                  "state segments.\n"
                  "Raises ValueError if they, the inputs or the attributes do not fit the kind.")
      .def_readonly("name", &Node::name)
      .def_readonly("features", &Node::features)
      .def_property_readonly("inputs", [](const Node& node) { return node.inputs; });

  py::class_<Graph, std::shared_ptr<Graph>>(
      m, "Graph", "Nodes in topological order. Raises ValueError, naming the node, if one does not fit.")
      .def(py::init<std::vector<Node>, std::vector<int>>(), py::arg("nodes"), py::arg("outputs"))
      .def_property_readonly("nodes", [](const Graph& graph) { return graph.nodes(); })
      .def_property_readonly("outputs", [](const Graph& graph) { return graph.outputs(); });
}

}  // namespace

py::list initializer_entries() {
  return describe_entries(kInitializers, [](py::dict& described, const InitializerEntry& entry) {
    described["for_weights_only"] = entry.fan != Fan::none;
  });
}

void register_parameters(py::module_& m) {
  m.def(
      "check_initializer",
      [](const std::string& kind, const py::kwargs& parameters) { make_initializer(kind, parameters); },
      py::arg("kind"), "Raises TypeError or ValueError if the parameters do not fit the initializer.");
  register_segment(m);
  register_guard(m);
  register_store<float>(m, "Parameters_float32");
  register_store<double>(m, "Parameters_float64");
  register_graph(m);
}

}  // namespace nncore::bindings
