// QEMU's command line as data: ordered options, each with its reason and origin. The rule: the only place that quotes
// for QEMU, so a hostile name or path can never become a second property.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace launcher::inline devices {

struct Arg {
  std::string option;  // "-device", "-nodefaults"
  std::string value;   // as QEMU gets it; "" for options without one
  std::string why;     // one clause: "one virtqueue per vCPU"
  std::string origin;  // "spec disk[0].queues" | "default" | "host" | "qemu" | "guide 001" | "extra_args"
  friend bool operator==(const Arg&, const Arg&) = default;
};

// "driver,key=value,...": QEMU doubles commas inside a value (qemu-options: "use ,, for a literal comma").
class Opts {
 public:
  explicit Opts(std::string_view head = {}) : text_(quote(head)) {}
  Opts& set(std::string_view key, std::string_view value);
  Opts& set(std::string_view key, const char* value) { return set(key, std::string_view(value)); }
  Opts& set(std::string_view key, bool value) { return set(key, std::string_view(value ? "on" : "off")); }
  template <class N>
  requires std::is_integral_v<N> &&(!std::is_same_v<N, bool>)Opts& set(std::string_view key, N value) {
    return set(key, std::string_view(std::to_string(value)));
  }
  const std::string& text() const { return text_; }
  static std::string quote(std::string_view value);

 private:
  std::string text_;
};

class QemuArgs {
 public:
  void add(std::string option, std::string why, std::string origin);
  void add(std::string option, const Opts& opts, std::string why, std::string origin);
  void add(std::string option, const boost::json::object& json, std::string why, std::string origin);
  void add_plain(Arg arg) { args_.push_back(std::move(arg)); }  // options whose whole value is a file name or free text
  void add_extra(std::string argument);                         // verbatim, marked
  const std::vector<Arg>& list() const { return args_; }
  std::vector<std::string> argv(const std::string& binary) const;

 private:
  std::vector<Arg> args_;
};

std::vector<std::string> argv_of(const std::string& binary, const std::vector<Arg>& args);

// The command line for a shell: quoted for sh, one option a line with trailing backslashes.
std::string shell_line(const std::vector<std::string>& argv);

// The child's fd numbers, chosen by the plan before anything is open: 0-2 are QEMU's own, ours start at 10.
class FdPlan {
 public:
  int take(std::string purpose);
  struct Planned {
    int fd;
    std::string purpose;
    friend bool operator==(const Planned&, const Planned&) = default;
  };
  const std::vector<Planned>& list() const { return fds_; }

 private:
  std::vector<Planned> fds_;
};

}  // namespace launcher::devices
