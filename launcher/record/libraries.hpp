// The libraries that a program is run with, by the word of its own loader (ld.so(8), --list). The rule: the program itself is not run, and
// there is no environment, for what vmrun starts has none of ours.
#pragma once

#include <map>
#include <string>

#include "launcher/record/fact.hpp"

namespace launcher::inline record {

// By the name that it is asked for, "libc.so.6" -> "/usr/lib/x86_64-linux-gnu/libc.so.6", the loader among them; "": not found. Paths are
// those of the files themselves, and what only a module loads later is not there. A program without a loader has none; of one that its
// loader refuses, as a library is missing, nothing but the loader is known.
std::map<std::string, std::string> libraries_of(const std::string& program);

// "libglib-2.0.so.0" -> "libglib-2.0.so.0.7400.6 0ba2f0c5...": the file's name, which has its version, and its build id.
Values library_facts(const std::string& program);

}  // namespace launcher::record
