/// Stands in for the original client's header of this name and, as that one does, opens namespace std.
#pragma once

#include "tfaas/predict.h"

using namespace std;  // NOLINT: programs that were written for the original rely on it
