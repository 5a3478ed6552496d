// What QEMU has last asked of its io_urings, from the queues themselves: an entry stays where it was until the queue has come round
// to it. The rule: a ring that is there proves nothing (QEMU 10.2 and later have one in every loop), an entry for an image does.
#pragma once

#include <map>
#include <set>
#include <string>

namespace launcher::inline proof {

struct Subject;

struct Requests {
  std::set<std::string> rings;  // fds of QEMU's
  std::set<int> files;          // whose reads, writes and flushes are among the entries
  bool whole = true;            // no queue has come round, so that each entry that there ever was is still there
  std::string unread;           // why a ring could not be looked into; "": all were
};

// files: what QEMU has open, by the number of the fd.
Requests requests_in_rings(const Subject& subject, const std::map<std::string, std::string>& files);

}  // namespace launcher::proof
