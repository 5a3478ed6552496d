// What became of each thing of a domain or command line. The rule: a row for everything that was there, in the order in which it was.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <vector>

namespace launcher::inline import {

// In the order of how bad it is.
enum class Verb {
  kept,     // the guest sees what it saw, or the host does what it did
  better,   // vmrun does it by itself, at least as well
  changed,  // something else takes its place: the guest or the host sees another value
  dropped,  // gone; the words say what that means
  refused   // the VM would not boot, or would lose data: no spec is written
};
constexpr const char* name_of(Verb verb) {
  constexpr const char* names[] = {"kept", "better", "changed", "dropped", "refused"};
  return names[static_cast<int>(verb)];
}

struct ReportRow {
  std::string path;   // "devices/disk[2]/driver/@cache"; of a command line the option: "-device virtio-net-pci"
  unsigned line = 0;  // of the text it was read from; 0: of none
  std::string value = {};
  Verb verb = Verb::kept;
  std::string words = {};
  bool absent = false;  // it is not there, and a default took its place
  friend bool operator==(const ReportRow&, const ReportRow&) = default;
};
using Report = std::vector<ReportRow>;

int exit_code_of(const Report& report);     // 2: something is refused; 3: something is dropped; 0: nothing is lost
std::string to_text(const Report& report);  // the worst first, and a closing line that counts
boost::json::object report_json(const Report& report, const std::string& spec);

}  // namespace launcher::import
