// The verdict on a window: what disturbed the VM, by how much, and from where on that counts. The rule: a pure function of the window;
// a delay that nothing explains is told, and nobody is named for it.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/watch/window.hpp"

namespace launcher::inline watch {

// From where on something is a disturbance. Defaults are for latency-minded VMs on CPUs of their own.
struct Threshold {
  std::string_view name;  // as --threshold names it
  double value;
  std::string_view unit;  // "% of the window", "a second", "bytes", "times"
  std::string_view what;  // for --help and the README
};
const std::vector<Threshold>& default_thresholds();

class Thresholds {
 public:
  double operator[](std::string_view name) const;
  // "foreign=1.5"; throws std::invalid_argument with the names there are.
  void set(std::string_view words);

 private:
  std::vector<Threshold> all_ = default_thresholds();
};

struct Offender {
  std::string what;       // the threshold's name: "run-delay"
  std::string subject;    // "vcpu 1 (4711)", "CPU 3"
  std::string who;        // "stress (815)", "interrupt eth0-rx-0"; "": nothing that was looked at explains it
  std::string amount;     // "12.4 % of the window"
  std::string threshold;  // "0.5 % of the window"
};
BOOST_DESCRIBE_STRUCT(Offender, (), (what, subject, who, amount, threshold))

// What is beyond its threshold and no proof: a delay that nothing here explains, where the host of this host takes time and does not tell.
std::vector<std::string> unproven(const Window& window, const Thresholds& thresholds);

std::vector<Offender> judge(const Window& window, const Thresholds& thresholds);

}  // namespace launcher::watch
