# Every dependency but LibTorch, found once here: packages of the system, modules, conda or Spack (docs/install.md). All that is
# missing is told at once, with what would serve.
set(spankey_missing)

# spankey_look_for(NAME [VERSION] [ARGUMENTS OF find_package]): sets found_only to text on a version that is too old, or to
# nothing.
macro(spankey_look_for name)
  find_package(${name} ${ARGN} QUIET)
  set(found_only)
  if(NOT ${name}_FOUND)
    foreach(version IN LISTS ${name}_CONSIDERED_VERSIONS ${name}_VERSION)
      if(version VERSION_LESS "${ARGV1}")
        set(found_only ", found only ${version}")
      endif()
    endforeach()
  endif()
endmacro()

# spankey_find(WHAT PACKAGES NAME [ARGUMENTS OF find_package]): WHAT and PACKAGES are for the message.
macro(spankey_find what packages name)
  spankey_look_for(${name} ${ARGN})
  if(NOT ${name}_FOUND)
    list(APPEND spankey_missing "${what}${found_only} (${packages})")
  endif()
endmacro()

# spankey_may_lack(NAME WITHOUT): a library that the program can do without; WITHOUT says what it lacks then.
macro(spankey_may_lack name without)
  spankey_look_for(${name})
  if(NOT ${name}_FOUND)
    message(STATUS "${name} not found: ${without}")
  endif()
endmacro()

set(HDF5_PREFER_PARALLEL OFF)
find_package(Threads REQUIRED)
spankey_find("MPI 3.1 for C" "Debian libopenmpi-dev, Fedora openmpi-devel, conda openmpi or mpich, module load openmpi"
  MPI 3.1 COMPONENTS C)
spankey_find("HDF5 1.10.7 for C" "Debian libhdf5-dev, Fedora hdf5-devel, conda hdf5, Spack hdf5, module load hdf5"
  HDF5 1.10.7 COMPONENTS C)
spankey_find("zlib" "Debian zlib1g-dev, Fedora zlib-devel, conda zlib, Spack zlib-api" ZLIB)
spankey_may_lack(JPEG "image folders may hold no JPEG")
spankey_may_lack(PNG "image folders may hold no PNG, and contact sheets cannot be written")
spankey_find("pkg-config" "Debian, Fedora and Spack pkgconf, conda pkg-config" PkgConfig)
if(PkgConfig_FOUND)
  pkg_check_modules(sodium QUIET IMPORTED_TARGET libsodium)
endif()
if(NOT TARGET PkgConfig::sodium)
  list(APPEND spankey_missing
       "libsodium, by pkg-config (Debian libsodium-dev, Fedora libsodium-devel, conda or Spack libsodium)")
endif()
include(Headers)
if(SPANKEY_TESTS)
  spankey_find("GoogleTest, for the tests, which SPANKEY_TESTS=OFF leaves out"
    "Debian libgtest-dev libgmock-dev, Fedora gmock-devel, conda gtest, Spack googletest" GTest)
  spankey_find("libjpeg, for the tests" "Debian libjpeg-dev, Fedora libjpeg-turbo-devel, conda or Spack libjpeg-turbo" JPEG)
  spankey_find("libpng, for the tests" "Debian libpng-dev, Fedora libpng-devel, conda or Spack libpng" PNG)
endif()
if(SPANKEY_BENCH)
  spankey_find("Google Benchmark, for bench/, which SPANKEY_BENCH=OFF leaves out"
    "Debian libbenchmark-dev, Fedora google-benchmark-devel, conda or Spack benchmark" benchmark)
endif()
if(spankey_missing)
  list(JOIN spankey_missing "; " spankey_missing)
  spankey_refuse("not found: ${spankey_missing}. CMAKE_PREFIX_PATH names folders in which to look")
endif()

add_library(mpi_c INTERFACE)
target_link_libraries(mpi_c INTERFACE MPI::MPI_C)
# The C++ bindings were removed from MPI-3; Open MPI's header still declares them unless told not to.
target_compile_definitions(mpi_c INTERFACE OMPI_SKIP_MPICXX)

add_library(hdf5_c INTERFACE)
target_include_directories(hdf5_c SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(hdf5_c INTERFACE ${HDF5_C_LIBRARIES})

add_library(header_only INTERFACE)
target_include_directories(header_only SYSTEM INTERFACE ${TOMLPLUSPLUS_INCLUDE_DIR} ${RANDOM123_INCLUDE_DIR}
  ${BOOST_MATH_INCLUDE_DIR})
