# Installs the library, its headers and the package files that find_package(nncore) reads.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/nncore)
install(TARGETS nncore EXPORT nncoreTargets ARCHIVE LIBRARY RUNTIME COMPONENT development)
install(DIRECTORY cpp/include/nncore DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(EXPORT nncoreTargets NAMESPACE nncore:: DESTINATION ${config_dir} COMPONENT development)
configure_package_config_file(cmake/nncoreConfig.cmake.in nncoreConfig.cmake INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(nncoreConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/nncoreConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/nncoreConfigVersion.cmake
        DESTINATION ${config_dir} COMPONENT development)
