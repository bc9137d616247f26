// The members of an argument struct in the order in which Python passes them, stated once beside the struct.
#pragma once

#define VAEFAST_FIELDS(...)                                                 \
    template <class Visit>                                                  \
    void fields(const Visit& visit) {                                       \
        visit(__VA_ARGS__);                                                 \
    }
