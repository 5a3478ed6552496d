// What a VM and this host have counted, as metrics. The rule: names are those of the libvirt exporters where these have the thing, so
// that a dashboard works on; ours begin with vmrun_.
#pragma once

#include <string>

#include "launcher/watch/exposition.hpp"

namespace topology {
struct HostTopology;
struct HostPolicy;
struct Reservations;
}  // namespace topology
namespace launcher::inline proof {
struct Subject;
}

namespace launcher::inline watch {

void add_vm(Metrics& metrics, const std::string& name, const std::string& phase, const Subject& subject);
void add_kvm(Metrics& metrics, const Labels& vm, const Subject& subject);      // its part: what query-stats has
void add_devices(Metrics& metrics, const Labels& vm, const Subject& subject);  // its part: disks and interfaces
void add_host(Metrics& metrics, const topology::HostTopology& host, const topology::HostPolicy& policy,
              const topology::Reservations& taken);

}  // namespace launcher::watch
