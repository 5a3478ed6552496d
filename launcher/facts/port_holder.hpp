// Who has a port of this host, before a VM asks for it. The rule: read from the kernel's tables, since a plan binds nothing.
#pragma once

#include <string>

namespace launcher::inline facts {

// "process 812 (nginx)", or that it is somebody whom we may not look at; "" where the port is free. address: "" is every one of IPv4.
std::string port_holder(bool udp, const std::string& address, unsigned port);

}  // namespace launcher::facts
