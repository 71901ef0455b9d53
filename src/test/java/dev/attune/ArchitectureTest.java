package dev.attune;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.fields;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaField;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.stereotype.Controller;

/** Habits of this code base that a compiler does not check. */
class ArchitectureTest {

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
          .importPackages("dev.attune");

  @Test
  void namesSayWhatAThingIs() {
    noClasses().should().haveSimpleNameEndingWith("Impl")
        .orShould().haveSimpleNameEndingWith("Utils").orShould().haveSimpleNameEndingWith("Util")
        .because("a class is named after what it does, so that it can be found")
        .check(CLASSES);
    noClasses().should().resideInAnyPackage("..util..", "..utils..", "..common..", "..misc..", "..helper..")
        .because("everything belongs to a room")
        .check(CLASSES);
  }

  @Test
  void controllersAreNoApi() {
    classes().that().areMetaAnnotatedWith(Controller.class).should().bePackagePrivate()
        .because("rooms talk through their interfaces, clients through HTTP")
        .check(CLASSES);
  }

  @Test
  void nativeCodeIsCalledByTheModelAndForThreadPriorities() {
    noClasses().that().resideOutsideOfPackages("dev.attune.llm..", "dev.attune.background")
        .should().dependOnClassesThat().areAssignableTo(Linker.class)
        .orShould().dependOnClassesThat().areAssignableTo(SymbolLookup.class)
        .orShould().callMethod(MemorySegment.class, "reinterpret", long.class)
        .because("a wrong call into native code ends the process")
        .check(CLASSES);
  }

  @Test
  void randomnessHasASeed() {
    noClasses().should().callConstructor(Random.class)
        .orShould().dependOnClassesThat().haveFullyQualifiedName("java.util.concurrent.ThreadLocalRandom")
        .orShould().callMethod(Math.class, "random")
        .because("the same input gives the same ranking")
        .check(CLASSES);
  }

  @Test
  void dependenciesComeThroughConstructors() {
    fields().should(notBeInjected()).because("a constructor shows what a class needs").check(CLASSES);
  }

  @Test
  void propertiesAreRecords() {
    classes().that().areAnnotatedWith(ConfigurationProperties.class).should().beRecords()
        .because("settings do not change while the service runs")
        .check(CLASSES);
    classes().that().areAnnotatedWith(ConfigurationProperties.class).should(bindBelowAttune()).check(CLASSES);
  }

  @Test
  void nothingIsPrintedPastTheLog() {
    noClasses()
        .that().resideOutsideOfPackages("dev.attune", "dev.attune.evaluation..")
        .should().accessField(System.class, "out").orShould().accessField(System.class, "err")
        .orShould().callMethod(Throwable.class, "printStackTrace")
        .because("only command line tools write to the console")
        .check(CLASSES);
  }

  private static ArchCondition<JavaField> notBeInjected() {
    return new ArchCondition<>("not be injected") {
      @Override
      public void check(JavaField field, ConditionEvents events) {
        if (field.isAnnotatedWith(Autowired.class)) {
          events.add(SimpleConditionEvent.violated(field, field.getFullName() + " is injected"));
        }
      }
    };
  }

  private static ArchCondition<JavaClass> bindBelowAttune() {
    return new ArchCondition<>("bind below 'attune'") {
      @Override
      public void check(JavaClass type, ConditionEvents events) {
        String prefix = type.getAnnotationOfType(ConfigurationProperties.class).value();
        if (!prefix.equals("attune") && !prefix.startsWith("attune.")) {
          events.add(SimpleConditionEvent.violated(type, type.getName() + " binds " + prefix));
        }
      }
    };
  }
}
