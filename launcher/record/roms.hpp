// What QEMU loads into a guest without being told: its BIOS and ROMs. The rule: found where QEMU looks, beside its own binary; which of
// them it takes is read off its command line.
#pragma once

#include <boost/json/array.hpp>
#include <string>
#include <vector>

namespace launcher::inline record {

// Paths; those that are not there are left out.
std::vector<std::string> roms_of(const std::string& qemu, const boost::json::array& argv);

}  // namespace launcher::record
