#include "launcher/watch/picture.hpp"

#include <fmt/format.h>

#include <set>
#include <stdexcept>

#include "launcher/facts/host_config.hpp"
#include "launcher/host/filter.hpp"

namespace launcher::inline watch {

namespace {

// A block of data: seconds, then a column for each key; 0 where a point has none.
template <class Key>
std::string data(const Watched& watched, const std::string& name, const std::set<Key>& keys, double scale,
                 std::map<Key, std::uint64_t> Point::*values) {
  std::string text = fmt::format("${} << EOD\n", name);
  for (const Point& point : watched.points) {
    text += fmt::format("{:.3f}", static_cast<double>(point.at_ns) / 1e9);
    for (const Key& key : keys) {
      const auto found = (point.*values).find(key);
      text += fmt::format(" {:.6g}", found == (point.*values).end() ? 0 : static_cast<double>(found->second) * scale);
    }
    text += "\n";
  }
  return text + "EOD\n";
}

template <class Key>
std::set<Key> keys_of(const Watched& watched, std::map<Key, std::uint64_t> Point::*values) {
  std::set<Key> keys;
  for (const Point& point : watched.points)
    for (const auto& [key, value] : point.*values) keys.insert(key);
  return keys;
}

// A diagram; a title in quotes of gnuplot's that know no escapes.
template <class Key>
std::string plot(const std::string& name, const std::string& label, const std::string& prefix,
                 const std::set<Key>& keys) {
  if (keys.empty()) return "";
  std::string text = fmt::format("set ylabel '{}'\nplot ", label);
  std::size_t column = 2;
  for (const Key& key : keys) {
    std::string title = fmt::format("{}{}", prefix, key);
    std::erase(title, '\'');
    text += fmt::format("{}${} using 1:{} with linespoints title '{}'", column == 2 ? "" : ", ", name, column, title);
    ++column;
  }
  return text + "\n";
}

}  // namespace

std::string plot_script(const Watched& watched, const std::string& name) {
  const auto roles = keys_of(watched, &Point::delay_ns);
  const auto irq_cpus = keys_of(watched, &Point::interrupts);
  const auto switch_cpus = keys_of(watched, &Point::switches);
  const unsigned plots = 1 + (irq_cpus.empty() ? 0 : 1) + (switch_cpus.empty() ? 0 : 1);
  std::string title = fmt::format("{}: {}", name, watched.clean() ? "clean" : "disturbed");
  std::erase(title, '\'');
  return fmt::format("set terminal svg size 1000,{} noenhanced\nset key outside right\nset yrange [0:*]\n",
                     320 * plots) +
         data(watched, "delay", roles, 1e-6, &Point::delay_ns) +
         data(watched, "irqs", irq_cpus, 1, &Point::interrupts) +
         data(watched, "switches", switch_cpus, 1, &Point::switches) +
         fmt::format("set multiplot layout {},1 title '{}'\nset xlabel 'seconds'\n", plots, title) +
         plot("delay", "run delay, ms", "", roles) + plot("irqs", "interrupts", "CPU ", irq_cpus) +
         plot("switches", "pushed off", "CPU ", switch_cpus) + "unset multiplot\n";
}

std::string drawn_by_gnuplot(const std::string& script) {
  const auto gnuplot = find_program("gnuplot");
  if (!gnuplot)
    throw std::runtime_error("no gnuplot in PATH to draw with; install it (Debian: apt install gnuplot-nox)");
  return filtered({*gnuplot, "/proc/self/fd/0"}, script);
}

std::string picture_of(const Watched& watched, const std::string& name) {
  if (watched.points.empty()) throw std::runtime_error("there is nothing to draw: the window had no second look");
  return drawn_by_gnuplot(plot_script(watched, name));
}

}  // namespace launcher::watch
